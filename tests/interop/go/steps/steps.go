// Package steps reports one line for each step of a suite, in the form
// tests/interop/run reads.
package steps

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Deadline is for anything we ask of a broker: one that is slower has failed.
const Deadline = 15 * time.Second

type Steps struct {
	failed bool
}

// Step runs one step. When it fails the next one still runs: one run shows all
// faults.
func (s *Steps) Step(name string, step func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	if err := step(ctx); err != nil {
		s.failed = true
		reason := strings.Join(strings.Fields(err.Error()), " ")
		fmt.Printf("FAIL %s: %.500s\n", name, reason)
		return
	}
	fmt.Println("ok", name)
}

// Exit ends the process with the status of the steps that ran.
func (s *Steps) Exit() {
	if s.failed {
		os.Exit(1)
	}
	os.Exit(0)
}

// Must ends a suite that cannot begin.
func Must[T any](value T, err error) T {
	if err != nil {
		fmt.Printf("FAIL connect: %v\n", err)
		os.Exit(1)
	}
	return value
}

// Eventually waits for a state that a broker reaches on its own, such as a
// deleted topic being gone.
func Eventually(ctx context.Context, what string, condition func() (bool, error)) error {
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not so after %s: %s", Deadline, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Bootstrap is the address of the broker under test.
func Bootstrap() string {
	return os.Getenv("BOOTSTRAP")
}

// Topic is the name of a topic that no other run uses.
func Topic(client string) string {
	run := os.Getenv("INTEROP_RUN")
	if run == "" {
		run = strconv.Itoa(os.Getpid())
	}
	return "interop-" + client + "-" + run
}
