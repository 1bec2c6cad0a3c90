package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: 100 a second on every Linux that Go
// runs on.
const tick = 10 * time.Millisecond

var errStat = errors.New("unexpected form of /proc/<pid>/stat")

// stat is what /proc/<pid>/stat says of a process.
type stat struct {
	parent int
	cpu    time.Duration // user and system
}

// parseStat reads the fields after the command's name, which is in parentheses
// and may contain anything.
func parseStat(text string) (stat, error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, errStat
	}
	fields := strings.Fields(text[end+1:]) // the first is field 3, the state
	if len(fields) < 13 {
		return stat{}, errStat
	}
	parent, err := strconv.Atoi(fields[1])
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err, errUser, errSystem); err != nil {
		return stat{}, fmt.Errorf("%w: %w", errStat, err)
	}
	return stat{parent: parent, cpu: time.Duration(user+system) * tick}, nil
}

// processes returns the pids of the server: its own, and those of its workers.
func (s *server) processes() []int {
	pids := []int{s.pid()}
	if !s.workers {
		return pids
	}
	names, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it ended meanwhile
		}
		pid, errPid := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if st, err := parseStat(string(text)); err == nil && errPid == nil && st.parent == s.pid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpu returns the CPU time that the server has used since it started.
func (s *server) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range s.processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		st, err := parseStat(string(text))
		if err != nil {
			return 0, err
		}
		sum += st.cpu
	}
	return sum, nil
}

// memory returns the resident memory of the server in MiB.
func (s *server) memory() (float64, error) {
	var kib float64
	for _, pid := range s.processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("reading memory: %w", err)
		}
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			n, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return 0, fmt.Errorf("reading memory: %w", err)
			}
			kib += n
		}
	}
	return kib / 1024, nil
}
