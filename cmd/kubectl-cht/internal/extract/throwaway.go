package extract

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/file/transfer"
)

const (
	// startWithin bounds the waiting for a machine and for the image.
	startWithin = 10 * time.Minute
	// answerWithin bounds CouchDB's own start.
	answerWithin = 2 * time.Minute
	// askEvery is how often CouchDB is asked whether it is there.
	askEvery = 500 * time.Millisecond
	// askWithin bounds one such request.
	askWithin = 30 * time.Second
)

// Pods reaches into pods.
type Pods interface {
	// Exec runs a command and waits for its end.
	Exec(ctx context.Context, namespace, pod, container string, command []string, stdin io.Reader, stdout io.Writer) error
	// Transport has requests answered by a port of the pod.
	Transport(namespace, pod, port string) http.RoundTripper
}

// ThrowAway is a CouchDB for one database.
type ThrowAway struct {
	client   client.WithWatch
	pods     Pods
	spec     Spec
	password string
}

// New makes none yet: Start does. Its name begins with cht-repo-get.
func New(c client.WithWatch, pods Pods, spec Spec) *ThrowAway {
	spec.Name = "cht-repo-get-" + strings.ToLower(rand.Text()[:10])
	return &ThrowAway{client: c, pods: pods, spec: spec, password: rand.Text()}
}

// Name of the pod.
func (t *ThrowAway) Name() string { return t.spec.Name }

// Start creates the pod and waits until it can be filled.
func (t *ThrowAway) Start(ctx context.Context) error {
	if err := t.client.Create(ctx, t.spec.Pod()); err != nil {
		return fmt.Errorf("create pod %s/%s: %w", t.spec.Namespace, t.spec.Name, err)
	}
	return t.runs(ctx, fillContainer, startWithin)
}

var errLate = errors.New("it took too long")

func (t *ThrowAway) runs(ctx context.Context, container string, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%w: more than %s", errLate, within))
	defer cancel()
	var pods corev1.PodList
	return await.List(ctx, t.client, &pods, func() (string, error) {
		if len(pods.Items) == 0 {
			return "", fmt.Errorf("pod %s/%s is gone: somebody deleted it", t.spec.Namespace, t.spec.Name)
		}
		return stage(&pods.Items[0], container)
	}, client.InNamespace(t.spec.Namespace), client.MatchingFields{"metadata.name": t.spec.Name})
}

// Fill streams the database's files into the pod, each chunk compared with its ID.
func (t *ThrowAway) Fill(ctx context.Context, r transfer.Reader, d Database, trees []Held, progress func(transfer.Progress)) error {
	into := &filler{put: func(ctx context.Context, path string, size int64, content io.Reader) error {
		return t.pods.Exec(ctx, t.spec.Namespace, t.spec.Name, fillContainer, writing(path, size), content, io.Discard)
	}}
	for i, held := range trees {
		part := subset{Reader: r, database: d, held: i, name: held.Name, tree: held.Tree}
		if t, err := part.Tree(ctx, held.Name); err != nil || len(t.Files) == 0 {
			continue
		}
		if _, err := transfer.Restore(ctx, part, held.Name, into, transfer.Options{Progress: progress}); err != nil {
			return err
		}
	}
	return nil
}

// Serve starts CouchDB over what was filled in, and gives it the database's shard map.
func (t *ThrowAway) Serve(ctx context.Context, d Database) (*couchdb.Client, error) {
	if err := t.file(ctx, settings, configuration(t.password)); err != nil {
		return nil, err
	}
	if err := t.file(ctx, filled, "\n"); err != nil {
		return nil, err
	}
	if err := t.runs(ctx, couchDBContainer, startWithin); err != nil {
		return nil, err
	}
	couch := couchdb.New("http://"+Node[len("couchdb@"):]+":"+Port, admin, t.password, t.pods.Transport(t.spec.Namespace, t.spec.Name, Port))
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, fmt.Errorf("%w: more than %s", errLate, answerWithin))
	defer cancel()
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return alone(ctx, couch) },
		func(ctx context.Context) error { return shardsThere(ctx, couch, d) },
		// Its start script makes databases of its own meanwhile, and may be in between.
		func(ctx context.Context) error { return couch.PutShardMaps(ctx, []couchdb.ShardMap{d.Map()}) },
		func(ctx context.Context) error { return answers(ctx, couch, d.Name) },
	} {
		if err := t.until(ctx, step); err != nil {
			return nil, fmt.Errorf("CouchDB in pod %s/%s: %w", t.spec.Namespace, t.spec.Name, err)
		}
	}
	return couch, nil
}

// errNever is of what does not become good by waiting.
var errNever = errors.New("not a throw-away CouchDB")

// until tries a step again until it is done, or CouchDB has ended.
func (t *ThrowAway) until(ctx context.Context, step func(context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, askWithin)
		err := step(once)
		cancel()
		if err == nil || errors.Is(err, errNever) {
			return err
		}
		var pod corev1.Pod
		if gone := t.client.Get(ctx, client.ObjectKey{Namespace: t.spec.Namespace, Name: t.spec.Name}, &pod); gone == nil {
			if _, ended := stage(&pod, couchDBContainer); ended != nil {
				return ended
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the last: %w", context.Cause(ctx), err)
		case <-time.After(askEvery):
		}
	}
}

// alone refuses a CouchDB that has another name, or knows any other node: it would work
// on somebody's shards.
func alone(ctx context.Context, couch *couchdb.Client) error {
	m, err := couch.Membership(ctx)
	if err != nil {
		return err
	}
	known := slices.Concat(m.AllNodes, m.ClusterNodes)
	if others := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name == Node }); len(others) > 0 {
		return fmt.Errorf("%w: it must know %s alone, and it knows %s; nothing was asked of it", errNever, Node, strings.Join(others, ", "))
	}
	if len(m.AllNodes) == 0 || len(m.ClusterNodes) == 0 {
		return errors.New("it does not know itself yet")
	}
	return nil
}

func shardsThere(ctx context.Context, couch *couchdb.Client, d Database) error {
	there, err := couch.LocalDatabases(ctx, Node)
	if err != nil {
		return err
	}
	for _, s := range d.Shards {
		if file := strings.TrimSuffix(d.path(s), shardEnd); !slices.Contains(there, file) {
			return fmt.Errorf("it does not see the shard %s", file)
		}
	}
	return nil
}

func answers(ctx context.Context, couch *couchdb.Client, database string) error {
	there, err := couch.Exists(ctx, database)
	if err == nil && !there {
		err = fmt.Errorf("it does not know database %s yet", database)
	}
	return err
}

// Remove deletes the pod, whatever it does. One that is not there is good.
func (t *ThrowAway) Remove(ctx context.Context) error {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = t.spec.Namespace, t.spec.Name
	return client.IgnoreNotFound(t.client.Delete(ctx, pod))
}
