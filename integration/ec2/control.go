package ec2

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ControlPath is where a fake in another process is steered, with JSON:
//
//	GET    /_fake/ready
//	GET    /_fake/calls            DELETE forgets them
//	GET    /_fake/needed/ACCOUNT   the permissions its calls took
//	POST   /_fake/faults           a Fault; DELETE ends all
//	GET    /_fake/timing           PUT a Timing
//	GET    /_fake/quotas           PUT Quotas; PUT "published" or "unlimited"
//	PUT    /_fake/allow/ACCOUNT    a list of permissions, or null
//	POST   /_fake/advance          a duration, for example "26h"
//	GET    /_fake/volumes          POST a Volume
//	GET    /_fake/snapshots        POST a Snapshot
//	POST   /_fake/end/SNAPSHOT     "" completes it, another text is its error
//	POST   /_fake/instances        an Instance
//	POST   /_fake/attach/INSTANCE  an Attachment
//	POST   /_fake/detach/VOLUME
const ControlPath = "/_fake/"

// control answers what is under ControlPath.
func (c *Cloud) control(w http.ResponseWriter, r *http.Request) {
	what, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, ControlPath), "/")
	value, err := c.steer(r.Method+" "+what, name, json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<22)))
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		value = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value) // the client has gone away, at worst
}

// steer does one thing.
func (c *Cloud) steer(what, name string, body *json.Decoder) (any, error) {
	switch what {
	case "GET ready":
		return true, nil
	case "GET calls":
		return c.Calls(), nil
	case "DELETE calls":
		c.ForgetCalls()
		return true, nil
	case "GET needed":
		return c.Needed(name), nil
	case "POST faults":
		return take(body, func(f Fault) (bool, error) { c.AddFault(f); return true, nil })
	case "DELETE faults":
		c.ClearFaults()
		return true, nil
	case "PUT allow":
		return take(body, func(p []string) (bool, error) { c.Allow(name, p); return true, nil })
	case "POST advance":
		return take(body, func(text string) (time.Time, error) {
			d, err := time.ParseDuration(text)
			c.Advance(d)
			return c.Now(), err
		})
	case "POST end":
		return take(body, func(why string) (bool, error) { return true, c.End(name, why) })
	case "GET timing", "PUT timing", "GET quotas", "PUT quotas":
		return c.tune(what, body)
	}
	return c.place(what, name, body)
}

// tune reads and sets what the fake is like.
func (c *Cloud) tune(what string, body *json.Decoder) (any, error) {
	c.mu.Lock()
	timing, quotas := c.timing, c.quotas
	c.mu.Unlock()
	switch what {
	case "PUT timing":
		if err := body.Decode(&timing); err != nil { // over what is set
			return nil, err
		}
		c.SetTiming(timing)
	case "PUT quotas":
		var raw json.RawMessage
		if err := body.Decode(&raw); err != nil {
			return nil, err
		}
		switch string(raw) {
		case `"published"`:
			quotas = Published()
		case `"unlimited"`:
			quotas = Unlimited()
		default:
			if err := json.Unmarshal(raw, &quotas); err != nil {
				return nil, err
			}
		}
		c.SetQuotas(quotas)
	}
	if strings.HasSuffix(what, "timing") {
		return timing, nil
	}
	return quotas, nil
}

// place tells of what is there, and puts more there.
func (c *Cloud) place(what, name string, body *json.Decoder) (any, error) {
	switch what {
	case "GET volumes":
		return c.Volumes("", ""), nil
	case "POST volumes":
		return take(body, c.AddVolume)
	case "GET snapshots":
		return c.Snapshots("", ""), nil
	case "POST snapshots":
		return take(body, c.AddSnapshot)
	case "POST instances":
		return take(body, c.AddInstance)
	case "POST attach":
		return take(body, func(at Attachment) (bool, error) { return true, c.Attach(name, at) })
	case "POST detach":
		return true, c.Detach(name)
	}
	return nil, errors.New("there is no such control: " + what)
}

// take reads a value and does something with it.
func take[V, R any](body *json.Decoder, do func(V) (R, error)) (any, error) {
	var v V
	if err := body.Decode(&v); err != nil {
		return nil, fmt.Errorf("read the request's JSON: %w", err)
	}
	return do(v)
}
