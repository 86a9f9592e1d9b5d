// Package member is what a group's member is told and what it prints, in the
// form tests/interop/groups reads.
package member

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	Heartbeat        = 500 * time.Millisecond
	RebalanceTimeout = 30 * time.Second
	BatchMax         = 50
)

// Args are the program's arguments, in their order.
type Args struct {
	Bootstrap, Group, Topic, Name string
	Session                       time.Duration
	// Instance is empty for a dynamic member.
	Instance string
}

// ParseArgs ends a program that is asked for a protocol it does not speak.
func ParseArgs() Args {
	words := append(os.Args[1:], "")
	if len(words) < 7 || words[4] != "classic" {
		fmt.Fprintln(os.Stderr, "usage: member BOOTSTRAP GROUP TOPIC NAME classic SESSION_MS [INSTANCE]")
		os.Exit(2)
	}
	session, err := strconv.Atoi(words[5])
	Must(err)
	return Args{
		Bootstrap: words[0],
		Group:     words[1],
		Topic:     words[2],
		Name:      words[3],
		Session:   time.Duration(session) * time.Millisecond,
		Instance:  words[6],
	}
}

var printing sync.Mutex

// Print prints one event with the time it happened.
func Print(event string, words ...any) {
	printing.Lock()
	defer printing.Unlock()
	line := fmt.Sprintln(append([]any{event}, words...)...)
	fmt.Print(time.Now().UnixMicro(), " ", line)
}

// List is a list of partitions as events have it.
func List(partitions []int32) string {
	words := make([]string, 0, len(partitions))
	for _, partition := range slices.Sorted(slices.Values(partitions)) {
		words = append(words, strconv.Itoa(int(partition)))
	}
	return strings.Join(words, ",")
}

// OnStop calls stop at the line "stop", or when whoever started this process
// is gone.
func OnStop(stop func()) {
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() && lines.Text() != "stop" {
		}
		stop()
	}()
}

// Must ends a member that cannot go on.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
