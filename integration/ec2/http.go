package ec2

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// actions of EC2 and STS, by name.
var actions = map[string]map[string]func(*Cloud, context.Context, *request, *answer) error{
	"ec2": {
		"CreateSnapshot": (*Cloud).createSnapshot, "CreateSnapshots": (*Cloud).createSnapshots,
		"DeleteSnapshot": (*Cloud).deleteSnapshot, "CopySnapshot": (*Cloud).copySnapshot,
		"DescribeSnapshots":       quick((*Cloud).describeSnapshots),
		"ModifySnapshotAttribute": quick((*Cloud).modifySnapshotAttribute), "DescribeSnapshotAttribute": quick((*Cloud).describeSnapshotAttribute),
		"LockSnapshot": quick((*Cloud).lockSnapshot), "UnlockSnapshot": quick((*Cloud).unlockSnapshot), "DescribeLockedSnapshots": quick((*Cloud).describeLockedSnapshots),
		"EnableFastSnapshotRestores": quick((*Cloud).enableFastRestores), "DisableFastSnapshotRestores": quick((*Cloud).disableFastRestores),
		"DescribeFastSnapshotRestores": quick((*Cloud).describeFastRestores),
		"ModifySnapshotTier":           quick((*Cloud).modifySnapshotTier), "RestoreSnapshotTier": quick((*Cloud).restoreSnapshotTier), "DescribeSnapshotTierStatus": quick((*Cloud).describeSnapshotTierStatus),
		"CreateVolume": (*Cloud).createVolume, "DeleteVolume": (*Cloud).deleteVolume, "DescribeVolumes": quick((*Cloud).describeVolumes),
		"DescribeInstances": quick((*Cloud).describeInstances),
		"CreateTags":        quick((*Cloud).createTags), "DeleteTags": quick((*Cloud).deleteTags), "DescribeTags": quick((*Cloud).describeTags),
		"DescribeRegions": quick((*Cloud).describeRegions), "DescribeAvailabilityZones": quick((*Cloud).describeZones),
		"GetEbsEncryptionByDefault": quick((*Cloud).getEncryptionByDefault), "GetEbsDefaultKmsKeyId": quick((*Cloud).getDefaultKey),
		"EnableEbsEncryptionByDefault": quick((*Cloud).setEncryptionByDefault), "DisableEbsEncryptionByDefault": quick((*Cloud).setEncryptionByDefault),
	},
	"sts": {
		"GetCallerIdentity": quick((*Cloud).getCallerIdentity), "AssumeRole": quick((*Cloud).assumeRole),
	},
}

// quick is an action that never waits.
func quick(do func(*Cloud, *request, *answer) error) func(*Cloud, context.Context, *request, *answer) error {
	return func(c *Cloud, _ context.Context, q *request, a *answer) error { return do(c, q, a) }
}

// errLost is that the client gets no answer.
var errLost = errors.New("the connection was closed before the answer")

// ServeHTTP answers a call, or one under ControlPath.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, ControlPath) {
		c.control(w, r)
		return
	}
	status, body, err := c.serve(r)
	if err != nil {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// RoundTrip answers a call without a socket.
func (c *Cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body, err := c.serve(r)
	if r.Body != nil {
		_ = r.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header:        http.Header{"Content-Type": {"text/xml;charset=UTF-8"}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}, nil
}

// serve answers a call; its error means that there is no answer.
func (c *Cloud) serve(r *http.Request) (status int, body []byte, err error) {
	q, err := c.read(r)
	call := Call{Time: c.Now(), Account: q.who.account, Action: q.service + ":" + q.action, RequestID: q.id}
	var a answer
	var h hit
	if err == nil {
		call.Region = q.region.name
		h = c.meet(q)
		err = c.perform(r.Context(), q, h, &a)
	}
	if err == nil || errors.As(err, new(*Failure)) {
		if late := sleep(r.Context(), h.delay-h.delay/2); late != nil {
			err = errors.Join(errLost, late)
		}
	}
	if err == nil && h.lose {
		err = errLost
	}
	var f *Failure
	switch {
	case err == nil:
		status, body = 200, q.render(&a)
		call.Needs = q.needs()
	case errors.As(err, &f):
		status, body, err = f.Status, q.refuse(f), nil
		call.Code = f.Code
	default:
		call.Lost, call.Code = true, "no answer"
	}
	c.mu.Lock()
	c.log.add(call)
	c.mu.Unlock()
	return status, body, err
}

// perform does the work, or what a fault makes of it.
func (c *Cloud) perform(ctx context.Context, q *request, h hit, a *answer) error {
	if err := h.before(ctx); err != nil {
		return errors.Join(errLost, err)
	}
	if h.err != nil {
		return h.err
	}
	if err := c.throttle(q); err != nil {
		return err
	}
	if err := c.authorize(q); err != nil {
		return err
	}
	q.ends = h.ends
	return actions[q.service][q.action](c, ctx, q, a)
}

// read takes a call apart. The request is never nil.
func (c *Cloud) read(r *http.Request) (*request, error) {
	q := &request{service: "ec2", region: &region{}}
	c.mu.Lock()
	q.id = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", c.rand.Uint32(), c.rand.Uint32N(1<<16), c.rand.Uint32N(1<<12), c.rand.Uint32N(1<<12), c.rand.Uint64N(1<<48))
	c.mu.Unlock()
	form, err := readForm(r)
	if err != nil {
		return q, fail("MalformedQueryString", "%s", err.Error())
	}
	q.form = form
	q.action = q.get("Action")
	var name string
	if q.who, name, q.service, err = c.caller(r.Header); err != nil {
		q.service = "ec2"
		return q, err
	}
	if actions[q.service] == nil {
		service := q.service
		q.service = "ec2"
		return q, fail("SignatureDoesNotMatch", "Credential should be scoped to correct service: 'ec2', not '%s'.", service)
	}
	if r, err := c.in(name); err == nil {
		q.region = r
	} else {
		return q, err
	}
	if actions[q.service][q.action] == nil {
		return q, fail("InvalidAction", "The action %s is not valid for this web service.", q.action)
	}
	return q, nil
}

// readForm takes parameters from the body or the query.
func readForm(r *http.Request) (url.Values, error) {
	text := r.URL.RawQuery
	if r.Body != nil {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return nil, err
		}
		if len(b) > 0 {
			text = string(b)
		}
	}
	return url.ParseQuery(text)
}

// render is the whole answer.
func (q *request) render(a *answer) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	if q.service == "sts" {
		fmt.Fprintf(&b, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>%[2]s</%[1]sResult>`+
			`<ResponseMetadata><RequestId>%[3]s</RequestId></ResponseMetadata></%[1]sResponse>`, q.action, a.b.Bytes(), q.id)
		return b.Bytes()
	}
	fmt.Fprintf(&b, `<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>%s</requestId>`, q.action, q.id)
	b.Write(a.b.Bytes())
	fmt.Fprintf(&b, `</%sResponse>`, q.action)
	return b.Bytes()
}

// refuse is an error's answer.
func (q *request) refuse(f *Failure) []byte {
	var text bytes.Buffer
	_ = xml.EscapeText(&text, []byte(f.Message))
	if q.service == "sts" {
		return fmt.Appendf(nil, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`, f.Code, text.Bytes(), q.id)
	}
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>`, f.Code, text.Bytes(), q.id)
}
