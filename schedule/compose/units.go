package compose

import (
	"fmt"
	"regexp"
	"strings"
)

// Unit is a file of systemd's.
type Unit struct {
	Name, Text string
}

// Timer says when backups are due, in systemd's words.
type Timer struct {
	// Name of the units, without an ending.
	Name string
	// Program is the path of this program, Arguments what follows it in all calls.
	Program   string
	Arguments []string
	// OnCalendar is systemd's expression, with a zone if wanted; Spread the random delay.
	OnCalendar, Spread string
}

var (
	unitForm     = regexp.MustCompile(`^[A-Za-z0-9:_.@-]{1,200}$`)
	calendarForm = regexp.MustCompile(`^[A-Za-z0-9 ,:*/~._+-]{1,200}$`)
)

// Units gives the service and the timer.
func (t Timer) Units() ([]Unit, error) {
	if !unitForm.MatchString(t.Name) {
		return nil, fmt.Errorf("%q is no name of a unit", t.Name)
	}
	for what, text := range map[string]string{"--on-calendar": t.OnCalendar, "--spread": t.Spread} {
		if !calendarForm.MatchString(text) {
			return nil, fmt.Errorf("%s %q is nothing that systemd takes; see man systemd.time", what, text)
		}
	}
	call := func(command string) (string, error) {
		words := []string{t.Program, "compose", command}
		words = append(words, t.Arguments...)
		for i, w := range words {
			if strings.ContainsAny(w, "\r\n") {
				return "", fmt.Errorf("%q has a line break", w)
			}
			words[i] = quote(w)
		}
		return strings.Join(words, " "), nil
	}
	backup, err := call("backup")
	if err != nil {
		return nil, err
	}
	resume, err := call("resume")
	if err != nil {
		return nil, err
	}
	service := `[Unit]
Description=Backup of a CHT that Docker Compose runs
Documentation=https://github.com/medic/cht-backup
Wants=network-online.target
After=network-online.target docker.service

[Service]
Type=oneshot
# Credentials for the bucket, where there is no identity of the machine's own.
EnvironmentFile=-/etc/cht-backup/compose.env
ExecStart=` + backup + `
# Whatever became of it, CouchDB goes on.
ExecStopPost=` + resume + `
# The watchdog that continues CouchDB must outlive a backup that is killed.
KillMode=process
TimeoutStartSec=23h
LimitNOFILE=1048576
Nice=10
IOSchedulingClass=idle
`
	timer := `[Unit]
Description=Backups of a CHT that Docker Compose runs

[Timer]
OnCalendar=` + t.OnCalendar + `
RandomizedDelaySec=` + t.Spread + `
# One that was due while the machine was off runs when it is on again.
Persistent=true

[Install]
WantedBy=timers.target
`
	return []Unit{{t.Name + ".service", service}, {t.Name + ".timer", timer}}, nil
}

// quote writes a word as systemd reads it.
func quote(w string) string {
	w = strings.NewReplacer(`%`, `%%`, `$`, `$$`, `\`, `\\`, `"`, `\"`).Replace(w)
	if w == "" || strings.ContainsAny(w, " \t;'\"\\") {
		return `"` + w + `"`
	}
	return w
}
