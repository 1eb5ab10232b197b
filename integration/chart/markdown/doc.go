// Package markdown takes the pages of the documentation apart, so that tests can hold
// them to the code: fenced blocks, code in a line, links, headings, and the commands
// that a shell block has. In: a folder, or a page's text. Out: those, each with its
// line. It knows as much of Markdown as these pages use, and nothing of what they say.
package markdown
