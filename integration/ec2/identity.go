package ec2

import (
	"net/http"
	"regexp"
	"strings"
)

// identity is who calls.
type identity struct {
	account string
	arn     string
	id      string
}

var (
	scope  = regexp.MustCompile(`Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request`)
	digits = regexp.MustCompile(`\d{12}`)
)

// caller reads who calls which service in which Region. An access key that was not
// given out belongs to the account whose number is part of it, else to the default one.
func (c *Cloud) caller(h http.Header) (who identity, region, service string, err error) {
	m := scope.FindStringSubmatch(h.Get("Authorization"))
	if m == nil {
		return who, "", "", &Failure{Status: 401, Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if who, known := c.keys[m[1]]; known {
		return who, m[3], m[4], nil
	}
	if strings.HasPrefix(m[1], "ASIA") {
		return who, "", "", fail("AuthFailure", "AWS was not able to validate the provided access credentials")
	}
	account := DefaultAccount
	if d := digits.FindString(m[1]); d != "" {
		account = d
	}
	return userOf(account), m[3], m[4], nil
}

func userOf(account string) identity {
	return identity{account: account, arn: "arn:aws:iam::" + account + ":user/test", id: "AIDA" + account}
}

// AddAccessKey says whose a key is.
func (c *Cloud) AddAccessKey(accessKey, account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[accessKey] = userOf(account)
}

// AccessKey is one that belongs to an account without having been added.
func AccessKey(account string) string { return "AKIA" + account }
