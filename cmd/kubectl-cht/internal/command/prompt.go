package command

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// canAsk tells whether somebody can be asked: a person at a terminal.
func (e *Env) canAsk() bool {
	_, ok := e.Terminal(e.In)
	return ok
}

// ask gives what is typed after a question. It fails only when ctx ends: Ctrl-C
// must not have to wait for the Enter key.
func (e *Env) ask(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprint(e.ErrOut, question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(e.In).ReadString('\n') // an end of input is an empty answer
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		_, _ = fmt.Fprintln(e.ErrOut)
		return "", context.Cause(ctx)
	case got := <-answer:
		return got, nil
	}
}
