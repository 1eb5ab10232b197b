package checkup

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/rest"
)

// MostSkew is how far two clocks may be apart before somebody should look: schedules
// run by the controller's, leases and tokens by all of them.
const MostSkew = 10 * time.Second

// Skew is how far the API server's clock is ahead of this machine's.
type Skew struct {
	Ahead time.Duration
	// Within is how exactly that is known: the header has whole seconds, and the
	// answer took its time.
	Within time.Duration
}

// Wrong tells whether the clocks are apart, whatever is not known.
func (s Skew) Wrong() bool { return s.Ahead.Abs()-s.Within > MostSkew }

// String says who is ahead.
func (s Skew) String() string {
	if s.Ahead < 0 {
		return fmt.Sprintf("%s behind", (-s.Ahead).Round(time.Second))
	}
	return fmt.Sprintf("%s ahead", s.Ahead.Round(time.Second))
}

// SkewOf compares the Date of an answer, of whole seconds, with when it was asked for
// and when it came.
func SkewOf(date, asked, came time.Time) Skew {
	took := came.Sub(asked)
	// The answer's moment lies anywhere in the second, and anywhere in between.
	return Skew{Ahead: date.Add(500 * time.Millisecond).Sub(asked.Add(took / 2)), Within: 500*time.Millisecond + took/2}
}

// APIServerSkew asks the API server for its time: everybody may ask for its version.
func APIServerSkew(ctx context.Context, config *rest.Config, now func() time.Time) (Skew, error) {
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return Skew{}, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return Skew{}, err
	}
	at := base.ResolveReference(&url.URL{Path: base.Path + "/version"})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return Skew{}, err
	}
	asked := now()
	answer, err := c.Do(request)
	if err != nil {
		return Skew{}, fmt.Errorf("ask the API server for its time: %w", err)
	}
	came := now()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16))
	_ = answer.Body.Close()
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return Skew{}, fmt.Errorf("the API server does not tell its time: %w", err)
	}
	return SkewOf(date, asked, came), nil
}
