package ec2

import (
	"bytes"
	"encoding/xml"
	"strconv"
	"time"
)

// answer writes XML.
type answer struct{ b bytes.Buffer }

// text is an element with text in it; none if there is no text.
func (a *answer) text(name, value string) {
	if value == "" {
		return
	}
	a.b.WriteByte('<')
	a.b.WriteString(name)
	a.b.WriteByte('>')
	_ = xml.EscapeText(&a.b, []byte(value)) // a bytes.Buffer takes all
	a.b.WriteString("</")
	a.b.WriteString(name)
	a.b.WriteByte('>')
}

func (a *answer) number(name string, n int32) {
	if n != 0 {
		a.text(name, strconv.Itoa(int(n)))
	}
}

func (a *answer) boolean(name string, b bool) { a.text(name, strconv.FormatBool(b)) }

func (a *answer) time(name string, t time.Time) {
	if !t.IsZero() {
		a.text(name, t.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
}

// in is an element with others in it.
func (a *answer) in(name string, write func()) {
	a.b.WriteString("<" + name + ">")
	write()
	a.b.WriteString("</" + name + ">")
}

// list is EC2's form of one.
func list[T any](a *answer, name string, items []T, write func(T)) {
	a.in(name, func() {
		for _, i := range items {
			a.in("item", func() { write(i) })
		}
	})
}

func (a *answer) tags(tags []Tag) {
	if len(tags) == 0 {
		return
	}
	list(a, "tagSet", tags, func(t Tag) {
		a.text("key", t.Key)
		a.b.WriteString("<value>") // an empty value is one
		_ = xml.EscapeText(&a.b, []byte(t.Value))
		a.b.WriteString("</value>")
	})
}

// ok is the whole answer of actions that only say that they did it.
func (a *answer) ok() { a.text("return", "true") }
