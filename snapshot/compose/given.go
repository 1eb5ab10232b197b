package compose

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Given is a CouchDB node that somebody named, where no engine can be asked.
type Given struct {
	// Service is the name of its service.
	Service string
	// PID is a process of its container, or the Erlang VM itself.
	PID int
	// URL it answers at, as seen from its own network; "" for port 5984 of 127.0.0.1.
	URL string
	// Data and Config are where its files lie on this machine; "" for the places of the
	// CHT's image, as its processes see them.
	Data, Config string
}

// ParseGiven reads SERVICE=PID[,url=URL][,data=DIR][,config=DIR].
func ParseGiven(text string) (Given, error) {
	service, rest, ok := strings.Cut(text, "=")
	parts := strings.Split(rest, ",")
	pid, err := strconv.Atoi(parts[0])
	if !ok || service == "" || err != nil || pid < 2 {
		return Given{}, fmt.Errorf("%q is not of the form SERVICE=PID[,url=URL][,data=DIR][,config=DIR]", text)
	}
	g := Given{Service: service, PID: pid}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		switch {
		case key == "url" && value != "":
			u, err := url.Parse(value)
			if err != nil || u.Scheme != "http" || u.User != nil || u.Host == "" {
				return g, fmt.Errorf("the url of %s is none of the form http://HOST:PORT; credentials come from the environment of its process", service)
			}
			g.URL = value
		case key == "data" && value != "":
			g.Data = value
		case key == "config" && value != "":
			g.Config = value
		default:
			return g, fmt.Errorf("%s: %q is none of url=URL, data=DIR and config=DIR", service, part)
		}
	}
	return g, nil
}
