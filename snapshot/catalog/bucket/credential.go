package bucket

import (
	"encoding/base64"
	"regexp"
	"strings"
)

// shortest value of a Secret that is looked for elsewhere. Shorter ones, such as a
// user's name, are in everything.
const shortest = 8

// known are the values of the instance's Secrets, and their base64.
type known struct{ values []string }

var (
	// plainKey are keys of Secrets whose values are no secret: they rightly stand in
	// the objects.
	plainKey = regexp.MustCompile(`(?i)(user(name)?|uuid|servers?|hosts?|port|url_host|namespace|ca\.crt|tls\.crt|domain|email)$`)
	// telling are names whose values are secret.
	telling = regexp.MustCompile(`(?i)(passw|passphrase|passwd|_pass$|secret|token|credential|private[-_]?key|api[-_]?key|access[-_]?key|cookie|[-_]auth$|authorization)`)
	// inURL is a password in a URL.
	inURL = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s"'@:]*:([^/\s"'@]+)@`)
	// reference is what Kubernetes or a shell puts in.
	reference = regexp.MustCompile(`^(\$\([A-Za-z_][A-Za-z0-9_]*\)|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?)$`)
	// inFile is a line of a configuration that gives a secret, or what CouchDB keeps
	// its admins under.
	inFile = regexp.MustCompile(`(?im)^\s*["']?[\w.-]*(passw(or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key)[\w.-]*["']?\s*[=:]\s*["']?[^\s"'$]|^\s*\[admins\]|-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	// inFlag is an argument, or a script, that gives a secret.
	inFlag = regexp.MustCompile(`(?i)(^|[\s;"'])-{0,2}[\w.-]*(passw(or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key)[\w.-]*[=:]\s*["']?[^\s"'$]`)
	// harmless values of telling names.
	harmless = regexp.MustCompile(`(?i)^(|true|false|yes|no|on|off|none|null|\d{1,6})$`)
)

func (k *known) add(key, value string) {
	value = strings.TrimSpace(value)
	if len(value) < shortest || plainKey.MatchString(key) {
		return
	}
	k.values = append(k.values, value, base64.StdEncoding.EncodeToString([]byte(value)))
	for _, m := range inURL.FindAllStringSubmatch(value, -1) { // what is part of one value may stand alone elsewhere
		if len(m[1]) >= shortest {
			k.values = append(k.values, m[1])
		}
	}
}

// structural are the places that name things; a credential cannot be one.
var structural = regexp.MustCompile(`^/(apiVersion|kind)$|^/metadata/(name|namespace|labels/.*)$|/(name|image|namespace|apiGroup|serviceName|serviceAccountName|claimName|secretName|mountPath|subPath|host|port|protocol|type|key|path)$|/(matchLabels|selector|nodeSelector|labels)/`)

// secret tells whether a text in an object, under a name, is or holds a credential.
func (k known) secret(kind, path, name, text string) bool {
	if text == "" || structural.MatchString(path) {
		return false
	}
	if holdsPassword(text) || strings.Contains(text, "PRIVATE KEY-----") || k.in(text) {
		return true
	}
	switch {
	case kind == "ConfigMap" && strings.HasPrefix(path, "/binaryData/"):
		plain, err := base64.StdEncoding.DecodeString(text)
		return err == nil && (inFile.Match(plain) || holdsPassword(string(plain)) || k.in(string(plain)))
	case kind == "ConfigMap" && strings.HasPrefix(path, "/data/"):
		return telling.MatchString(name) && !harmless.MatchString(text) || inFile.MatchString(text)
	case strings.Contains(path, "/args/") || strings.Contains(path, "/command/"):
		return inFlag.MatchString(text)
	case strings.HasSuffix(path, "/value"): // of an environment variable or a header
		return telling.MatchString(name) && !harmless.MatchString(text) && !reference.MatchString(text)
	}
	return false
}

func (k known) in(text string) bool {
	for _, value := range k.values {
		if strings.Contains(text, value) {
			return true
		}
	}
	return false
}

// holdsPassword tells whether a URL in the text has a password written out.
func holdsPassword(text string) bool {
	for _, m := range inURL.FindAllStringSubmatch(text, -1) {
		if !reference.MatchString(m[1]) {
			return true
		}
	}
	return false
}
