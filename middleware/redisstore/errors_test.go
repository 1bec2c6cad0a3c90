package redisstore_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"tyk_proxy/middleware"
	"tyk_proxy/middleware/redisstore"
	"tyk_proxy/middleware/storetest"
)

// TestErrorReplies checks that an error reply is an outage, that the command is
// not retried, and that the error does not quote the command.
func TestErrorReplies(t *testing.T) {
	for _, reply := range []string{
		"LOADING Redis is loading the dataset in memory",
		"READONLY You can't write against a read only replica.",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"CLUSTERDOWN The cluster is down",
		"MOVED 3999 127.0.0.1:6381",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"NOAUTH Authentication required.",
		"NOPERM User default has no permissions to access the 'token:" + apiKey + "' key",
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"ERR max number of clients reached",
		"ERR unknown command 'EVALSHA', with args beginning with: '0123' '1' 'rate_count:" + apiKey + ":60' ",
		"ERR unknown command `GETRANGE`, with args beginning with: `token:" + apiKey + "`, `0`, ",
	} {
		kind, _, _ := strings.Cut(reply, " ")
		t.Run(kind, func(t *testing.T) {
			mini := miniredis.RunT(t)
			p := newPorts(t, options(mini.Addr(), patience))
			p.warm(t)
			asked := 0
			mini.Server().SetPreHook(func(peer *server.Peer, cmd string, _ ...string) bool {
				if cmd != "EVALSHA" && cmd != "GETRANGE" {
					return false
				}
				asked++
				peer.WriteError(reply)
				return true
			})
			countErr, lookupErr := p.use(t.Context())
			for _, err := range []error{countErr, lookupErr} {
				storetest.CheckError(t, err, middleware.ErrUnavailable, apiKey)
				if fault := (redis.Error)(nil); !t.Failed() && (!errors.As(err, &fault) || !strings.HasPrefix(fault.Error(), kind)) {
					t.Errorf("the error %v does not contain %s", err, kind)
				}
			}
			want := 2 // one from each port
			if slices.Contains([]string{"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"}, kind) {
				want = 4 // which each sent again, to reach another server
			}
			if asked != want {
				t.Errorf("Redis received %d commands, want %d", asked, want)
			}
			mini.Server().SetPreHook(nil)
			if countErr, lookupErr := p.use(t.Context()); countErr != nil || lookupErr != nil {
				t.Error("the ports fail after the error replies ended")
			}
		})
	}
}

// TestRealErrorReplies uses a real Redis that lacks a command, has no memory, or
// has a value of another type under a counter's key.
func TestRealErrorReplies(t *testing.T) {
	t.Run("commands renamed", func(t *testing.T) {
		s := storetest.StartRedis(t, "--rename-command", "GETRANGE", "", "--rename-command", "EVALSHA", "")
		p := newPorts(t, options(s.Addr, patience))
		countErr, lookupErr := p.use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
		storetest.CheckError(t, lookupErr, middleware.ErrUnavailable, apiKey)
		wantText(t, countErr, "unknown command evalsha")
		wantText(t, lookupErr, "unknown command getrange")
	})
	t.Run("commands not allowed", func(t *testing.T) {
		o := options(storetest.StartRedis(t).Addr, patience)
		admin := newPorts(t, o).admin
		err := admin.Do(t.Context(), "ACL", "SETUSER", "gw", "on", ">for-tests", "~*", "+@all", "-getrange", "-evalsha").Err()
		if err != nil {
			t.Fatal(err)
		}
		o.Username, o.Password = "gw", "for-tests"
		countErr, lookupErr := newPorts(t, o).use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
		storetest.CheckError(t, lookupErr, middleware.ErrUnavailable, apiKey)
		wantText(t, countErr, "run the evalsha command")
		wantText(t, lookupErr, "run the getrange command")
	})
	t.Run("counter below 1", func(t *testing.T) {
		p := newPorts(t, options(storetest.StartRedis(t).Addr, patience))
		window := time.Now().Unix() - time.Now().Unix()%60
		for _, second := range []int64{window, window + 60} { // the minute may end during the test
			key := redisstore.CounterPrefix + apiKey + ":" + strconv.FormatInt(second, 10)
			if err := p.admin.Set(t.Context(), key, -5, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		countErr, _ := p.use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
		if countErr != nil && !strings.Contains(countErr.Error(), "below 1") {
			t.Errorf("the error %q does not mention the counter", countErr)
		}
	})
	t.Run("no memory", func(t *testing.T) {
		s := storetest.StartRedis(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
		countErr, lookupErr := newPorts(t, options(s.Addr, patience)).use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
		if lookupErr != nil {
			t.Error("the lookup failed on a Redis without memory")
		}
	})
	t.Run("password", func(t *testing.T) {
		s := storetest.StartRedis(t, "--requirepass", "for-tests")
		o := options(s.Addr, patience)
		countErr, lookupErr := newPorts(t, o).use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
		storetest.CheckError(t, lookupErr, middleware.ErrUnavailable, apiKey)
		o.Password, o.DB = "for-tests", 3
		if countErr, lookupErr := newPorts(t, o).use(t.Context()); countErr != nil || lookupErr != nil {
			t.Error("the password was not used")
		}
		o.Password = "wrong"
		countErr, _ = newPorts(t, o).use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
	})
	t.Run("a list under the counter's key", func(t *testing.T) {
		mini := startMini(t, testClock())
		p := newPorts(t, options(mini.Addr(), patience))
		start := testClock().Now().Truncate(time.Minute).Unix()
		if _, err := mini.Push(counterKey(start), "x"); err != nil {
			t.Fatal(err)
		}
		countErr, _ := p.use(t.Context())
		storetest.CheckError(t, countErr, middleware.ErrUnavailable, apiKey)
	})
}

// wantText checks that an error says what Redis refused, as a log line has it.
func wantText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(strings.ToLower(middleware.Redact(err.Error())), want) {
		t.Errorf("the error is %v, want one with %q", err, want)
	}
}

// TestOversizeCostsLittle checks that a record of many MiB is not fetched.
func TestOversizeCostsLittle(t *testing.T) {
	s := storetest.StartRedis(t)
	p := newPorts(t, options(s.Addr, patience))
	record := storetest.Record(apiKey, 1, time.Now().Add(time.Hour), "/"+strings.Repeat("a", 8<<20))
	if err := p.admin.Set(t.Context(), redisstore.RecordPrefix+apiKey, record, 0).Err(); err != nil {
		t.Fatal("storing a large record failed")
	}
	before := info(t, p.admin, "total_net_output_bytes")
	_, err := p.records.Lookup(t.Context(), apiKey)
	storetest.CheckError(t, err, middleware.ErrRecordInvalid, apiKey)
	if sent := info(t, p.admin, "total_net_output_bytes") - before; sent > 2*middleware.MaxRecordSize {
		t.Errorf("Redis sent %d bytes, want little more than %d", sent, middleware.MaxRecordSize)
	}
}
