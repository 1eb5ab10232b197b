package node

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// user is who makes a request.
type user struct {
	Name  string
	Roles []string
	How   string // default or cookie
}

func (u *user) admin() bool { return u != nil && slices.Contains(u.Roles, "_admin") }

type account struct {
	scheme scheme
	roles  []string
}

// authCache remembers accounts and passwords that were right, so that a login
// needs no disk the second time.
type authCache struct {
	mu       sync.Mutex
	accounts map[string]account
	good     map[string]string // name to the password last accepted
}

func (c *authCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, name)
	delete(c.good, name)
}

var (
	errWrongPassword = fail(http.StatusUnauthorized, "unauthorized", "Name or password is incorrect.")
	errAuthRequired  = fail(http.StatusUnauthorized, "unauthorized", "Authentication required.")
	errNotAdmin      = fail(http.StatusUnauthorized, "unauthorized", "You are not a server admin.")
	errNotMember     = fail(http.StatusForbidden, "forbidden", "You are not allowed to access this db.")
)

// account finds an admin in the configuration or a user in _users. Any failure
// to read _users looks like an unknown user, as it does in CouchDB.
func (n *Node) account(ctx context.Context, name string) (account, bool) {
	if v, ok := n.conf.Get("admins", name); ok && v != "" {
		s, ok := parseAdmin(v)
		return account{s, []string{"_admin"}}, ok
	}
	n.auth.mu.Lock()
	a, ok := n.auth.accounts[name]
	n.auth.mu.Unlock()
	if ok {
		return a, true
	}
	m := n.maps.get("_users")
	if m == nil {
		return account{}, false
	}
	id := "org.couchdb.user:" + name
	s, err := m.of(id)
	if err != nil {
		return account{}, false
	}
	d, err := call[*wireDoc](ctx, n, s.Node, "doc", docRequest{Shard: s.Name, ID: id})
	if err != nil || d == nil || d.Leaves[0].Deleted {
		return account{}, false
	}
	var doc struct {
		Derived    string   `json:"derived_key"`
		Salt       string   `json:"salt"`
		PRF        string   `json:"pbkdf2_prf"`
		Iterations int      `json:"iterations"`
		Roles      []string `json:"roles"`
	}
	if json.Unmarshal(d.Leaves[0].Body, &doc) != nil || doc.Iterations < 1 {
		return account{}, false
	}
	if doc.PRF == "" {
		doc.PRF = "sha"
	}
	a = account{scheme{doc.PRF, doc.Derived, doc.Salt, doc.Iterations}, doc.Roles}
	n.auth.mu.Lock()
	defer n.auth.mu.Unlock()
	if n.auth.accounts == nil {
		n.auth.accounts = map[string]account{}
	}
	n.auth.accounts[name] = a
	return a, true
}

func (n *Node) login(ctx context.Context, name, password string) (*user, account, error) {
	a, ok := n.account(ctx, name)
	if !ok {
		return nil, a, errWrongPassword
	}
	key := password + "\x00" + a.scheme.derived
	n.auth.mu.Lock()
	known := n.auth.good[name] == key
	n.auth.mu.Unlock()
	if !known {
		if !a.scheme.matches(password) {
			return nil, a, errWrongPassword
		}
		n.auth.mu.Lock()
		if n.auth.good == nil {
			n.auth.good = map[string]string{}
		}
		n.auth.good[name] = key
		n.auth.mu.Unlock()
	}
	return &user{name, a.roles, "default"}, a, nil
}

// authenticate finds out who asks; nil is nobody.
func (n *Node) authenticate(r *http.Request) (*user, error) {
	if name, password, ok := r.BasicAuth(); ok {
		u, _, err := n.login(r.Context(), name, password)
		return u, err
	}
	c, err := r.Cookie("AuthSession")
	if err != nil || c.Value == "" {
		return nil, nil
	}
	name, stamp, mac, ok := readCookie(c.Value)
	if !ok {
		return nil, fail(http.StatusBadRequest, "bad_request", "Malformed AuthSession cookie. Please clear your cookies.")
	}
	a, ok := n.account(r.Context(), name)
	secret, _ := n.conf.Get("couch_httpd_auth", "secret")
	at, err := strconv.ParseInt(stamp, 16, 64)
	timeout, _ := n.conf.Get("couch_httpd_auth", "timeout")
	seconds, terr := strconv.Atoi(timeout)
	if !ok || err != nil || terr != nil || !hmac.Equal(mac, cookieMAC(secret, a.scheme.salt, name, stamp)) ||
		time.Since(time.Unix(at, 0)) > time.Duration(seconds)*time.Second {
		return nil, nil
	}
	return &user{name, a.roles, "cookie"}, nil
}

func (n *Node) requireUser(r *http.Request, parts []string, u *user) error {
	if u != nil {
		return nil
	}
	if v, _ := n.conf.Get("chttpd", "require_valid_user"); v != "true" {
		return nil
	}
	if r.Method == http.MethodPost && len(parts) == 1 && parts[0] == "_session" {
		return nil
	}
	return errAuthRequired
}

// mayRead checks a database's _security object.
func mayRead(u *user, security json.RawMessage) bool {
	if u.admin() {
		return true
	}
	type who struct {
		Names []string `json:"names"`
		Roles []string `json:"roles"`
	}
	sec := struct {
		Admins  who `json:"admins"`
		Members who `json:"members"`
	}{}
	if security == nil {
		return false // CouchDB 3's default: admins only
	}
	if json.Unmarshal(security, &sec) != nil {
		return false
	}
	if len(sec.Members.Names)+len(sec.Members.Roles) == 0 {
		return true
	}
	if u == nil {
		return false
	}
	in := func(w who) bool {
		return slices.Contains(w.Names, u.Name) || slices.ContainsFunc(u.Roles, func(r string) bool { return slices.Contains(w.Roles, r) })
	}
	return in(sec.Members) || in(sec.Admins)
}

func (n *Node) session(w http.ResponseWriter, r *http.Request, u *user) error {
	ctx := map[string]any{"name": nil, "roles": []string{}}
	if u != nil {
		ctx = map[string]any{"name": u.Name, "roles": u.Roles}
		if u.Roles == nil {
			ctx["roles"] = []string{}
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		info := map[string]any{"authentication_handlers": []string{"cookie", "default"}}
		if u != nil {
			info["authenticated"] = u.How
		}
		return reply(w, http.StatusOK, map[string]any{"ok": true, "userCtx": ctx, "info": info})
	case http.MethodDelete:
		http.SetCookie(w, &http.Cookie{Name: "AuthSession", Path: "/", HttpOnly: true, MaxAge: -1})
		return reply(w, http.StatusOK, map[string]any{"ok": true})
	case http.MethodPost:
		var in struct{ Name, Username, Password string }
		if isForm(r) {
			in.Name, in.Username, in.Password = r.FormValue("name"), r.FormValue("username"), r.FormValue("password")
		} else if err := readJSON(r, &in); err != nil {
			return err
		}
		if in.Name == "" {
			in.Name = in.Username
		}
		u, a, err := n.login(r.Context(), in.Name, in.Password)
		if err != nil {
			return err
		}
		http.SetCookie(w, &http.Cookie{Name: "AuthSession", Value: n.newCookie(u.Name, a.scheme.salt), Path: "/", HttpOnly: true})
		roles := u.Roles
		if roles == nil {
			roles = []string{}
		}
		return reply(w, http.StatusOK, map[string]any{"ok": true, "name": u.Name, "roles": roles})
	}
	return errMethod("GET,HEAD,POST,DELETE")
}
