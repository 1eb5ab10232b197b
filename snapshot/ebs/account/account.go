package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"github.com/medic/cht-backup/snapshot/ebs/rate"
)

const (
	// findWithin bounds the search for credentials and for the Region: on a machine
	// that is none of AWS, nobody answers.
	findWithin = 6 * time.Second
	// notFoundFor is how long it is remembered that there are none.
	notFoundFor = 30 * time.Second
	// validFor is how long credentials are valid at least when they are handed out: no
	// freeze is longer, so that none ends for want of them.
	validFor = 5 * time.Minute
	// answerWithin bounds the wait for an answer's first byte.
	answerWithin = time.Minute
	// connections that are kept open to one endpoint, one for each volume that is cut at
	// the same time.
	connections = 128
	// tries of a call outside of a freeze.
	tries = 8
)

// Settings of an Account.
type Settings struct {
	// Version of this program, told to AWS.
	Version string
	// Rates bound what changes something. Default: rate.Default.
	Rates *rate.Limits
	// Clock of the rates, for the benchmarks.
	Clock rate.Clock
	// Load are further options for the SDK, for the tests and for other accounts.
	Load []func(*config.LoadOptions) error
}

// Account is one AWS account.
type Account struct {
	settings Settings
	rates    *rate.Buckets

	mu      sync.Mutex
	config  *aws.Config
	clients map[string]*ec2.Client
	region  string
	// missing tells what was not found, and when.
	missing map[string]missed
}

type missed struct {
	at  time.Time
	err error
}

// New makes an Account. It asks for nothing yet.
func New(s Settings) *Account {
	limits := rate.Default
	if s.Rates != nil {
		limits = *s.Rates
	}
	return &Account{settings: s, rates: rate.New(limits, s.Clock), clients: map[string]*ec2.Client{}, missing: map[string]missed{}}
}

// Rates are the buckets that all calls to this account come out of.
func (a *Account) Rates() *rate.Buckets { return a.rates }

// Config gives the SDK's configuration, for services other than EC2. The caller does
// not change it.
func (a *Account) Config(ctx context.Context) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.load(ctx)
}

func (a *Account) load(ctx context.Context) (aws.Config, error) {
	if a.config != nil {
		return *a.config, nil
	}
	options := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer {
			return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
				o.StandardOptions = append(o.StandardOptions, func(so *retry.StandardOptions) { so.MaxAttempts = tries })
			})
		}),
		config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = validFor }),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(Keep)),
		config.WithAPIOptions([]func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("cht-backup", a.settings.Version)}),
	}
	c, err := config.LoadDefaultConfig(ctx, append(options, a.settings.Load...)...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read the AWS settings: %w", err)
	}
	a.config = &c
	return c, nil
}

// Keep makes a transport keep its connections, enough for all volumes of a cut.
func Keep(t *http.Transport) {
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 0, connections, answerWithin
}

// EC2 gives the client of a Region. What it calls is tried again by itself, slower
// when EC2 says that it is too much.
func (a *Account) EC2(ctx context.Context, region string) (*ec2.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[region]; c != nil {
		return c, nil
	}
	c, err := a.load(ctx)
	if err != nil {
		return nil, err
	}
	client := ec2.NewFromConfig(c, func(o *ec2.Options) {
		o.Region = region
		o.APIOptions = append(o.APIOptions, a.rates.Middleware(region))
	})
	a.clients[region] = client
	return client, nil
}

// Held gives the option for calls that are made under a freeze: made once, and with
// credentials that are at hand and stay valid.
func (a *Account) Held(ctx context.Context) (func(*ec2.Options), error) {
	credentials, err := a.credentials(ctx)
	if err != nil {
		return nil, err
	}
	return func(o *ec2.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil })
		o.Retryer, o.RetryMaxAttempts = aws.NopRetryer{}, 0
	}, nil
}

// Check tells whether there are credentials, and else what to do.
func (a *Account) Check(ctx context.Context) error {
	_, err := a.credentials(ctx)
	return err
}

func (a *Account) credentials(ctx context.Context) (aws.Credentials, error) {
	c, err := a.Config(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	var found aws.Credentials
	err = a.find(ctx, "credentials", func(ctx context.Context) (err error) {
		if c.Credentials == nil {
			return errors.New("none are configured")
		}
		found, err = c.Credentials.Retrieve(ctx)
		return err
	})
	if err != nil {
		return found, fmt.Errorf("no AWS credentials (give the controller's ServiceAccount a role by IRSA or Pod Identity, or its nodes an instance profile): %w", err)
	}
	return found, nil
}

// Region is where this process runs, as the environment, the profile or the instance
// says.
func (a *Account) Region(ctx context.Context) (string, error) {
	c, err := a.Config(ctx)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	known := a.region
	a.mu.Unlock()
	if known != "" {
		return known, nil
	}
	if c.Region != "" {
		return c.Region, nil
	}
	err = a.find(ctx, "region", func(ctx context.Context) error {
		answer, err := imds.NewFromConfig(c, func(o *imds.Options) { o.Retryer = aws.NopRetryer{} }).GetRegion(ctx, &imds.GetRegionInput{})
		if err == nil {
			known = answer.Region
		}
		return err
	})
	if err != nil || known == "" {
		return "", fmt.Errorf("no AWS Region is known; set AWS_REGION (controller.env in the chart): %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.region = known
	return known, nil
}

// find asks within bounds, and remembers for a while that there was no answer.
func (a *Account) find(ctx context.Context, what string, ask func(context.Context) error) error {
	a.mu.Lock()
	m, missing := a.missing[what]
	a.mu.Unlock()
	if missing && time.Since(m.at) < notFoundFor {
		return m.err
	}
	bounded, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	err := ask(bounded)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.missing, what)
	if err != nil && ctx.Err() == nil {
		a.missing[what] = missed{at: time.Now(), err: err}
	}
	return err
}
