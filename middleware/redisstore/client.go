package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// defaultMaxQueued bounds the commands that wait or are under way. A Redis
// that runs a hundred thousand a second works them off in a tenth of a second.
const defaultMaxQueued = 8192

// pipelineBuffer is the size of a shared connection's buffers, bytes: a batch
// of about five hundred commands is written and read with one system call each.
const pipelineBuffer = 128 << 10

// Options configure the connection to Redis.
type Options struct {
	Addr     string // host:port
	Username string
	Password string
	DB       int
	TLS      *tls.Config // nil means plain TCP

	DialTimeout time.Duration // for one connection attempt
	Timeout     time.Duration // without a byte from Redis, after which it is silent
	MaxQueued   int           // commands accepted and not answered; 0 means 8192

	// ClientSideCache keeps records in memory and has Redis tell when they
	// change. It needs RESP3 and database 0, and is off without them.
	ClientSideCache bool

	// Changed is told when Redis falls silent, with the reason, and when it
	// answers again, with nil; one after the other. It may be nil.
	Changed func(reason error)
}

// Instrument learns of every command that a Client runs. Implementations are
// safe for concurrent use.
type Instrument interface {
	// Traced reports whether a command is part of a trace that is recorded
	// live. It then goes through the hooks of Client.Traced.
	Traced(ctx context.Context) bool
	// Command is told of every command that ended: its upper-case name, start,
	// duration and error as go-redis returned it.
	Command(ctx context.Context, name string, started time.Time, elapsed time.Duration, err error)
}

// Client runs commands on Redis. All callers share one connection, on which
// go-redis sends what they ask together. No command has a timer: the connection
// has a read timeout, and when that passes Redis is silent. Whoever waits then
// gets an error at once, and no command is sent until a probe is answered.
//
// A Client ignores the cancellation of a caller's context: a command that was
// sent runs, and it ends soon.
type Client struct {
	options    Options
	instrument Instrument // nil means none

	shared  *redis.Client // has the connection of pipe
	pipe    *redis.AutoPipeliner
	silence *silence
	prober  *prober
	records recordCache

	traced     *redis.Client
	tracedOnce sync.Once

	commands, refused atomic.Uint64
	waiting           atomic.Int64
}

// NewClient returns a client. It opens no connection, so that the gateway
// starts, and says that it is not ready, without Redis.
func NewClient(o Options) *Client {
	if o.MaxQueued == 0 {
		o.MaxQueued = defaultMaxQueued
	}
	c := &Client{options: o, prober: newProber(o)}
	c.silence = newSilence(o, c.prober)
	c.silence.fallen, c.silence.back = c.records.drop, c.renewRecords
	c.shared = c.newShared()
	// Half duplex: beside Redis a command takes 2.1 µs, in full duplex 3.8
	// (BenchmarkDuplex). And only half duplex refuses what exceeds
	// MaxQueuedCommands, and has no batch under way when Redis falls silent but
	// the one that found out.
	pipe, err := c.shared.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{MaxQueuedCommands: o.MaxQueued})
	if err != nil {
		panic(fmt.Sprintf("redisstore: options that never change are refused: %v", err))
	}
	c.pipe = pipe
	c.traced = redis.NewClient(o.base())
	return c
}

// base returns what all go-redis clients of a Client have in common. Retries
// are off: a read timeout does not mean that a script did not run, and a second
// run would count the request twice.
func (o Options) base() *redis.Options {
	return &redis.Options{
		Addr:            o.Addr,
		Username:        o.Username,
		Password:        o.Password,
		DB:              o.DB,
		TLSConfig:       o.TLS,
		Protocol:        2,
		DialTimeout:     o.DialTimeout,
		DialerRetries:   1,
		ReadTimeout:     o.Timeout,
		WriteTimeout:    o.Timeout,
		PoolSize:        1,
		MaxRetries:      -1,
		DisableIdentity: true,
		// Hand-over notices of managed Redis clusters; a handshake more for
		// every connection, and not what this gateway talks to.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (c *Client) newShared() *redis.Client {
	o := c.options.base()
	o.Dialer = c.dial
	o.Limiter = c.silence
	// There is one batch at a time, and so one connection. But after as many
	// refused connections as the pool may have, go-redis waits a second.
	o.PipelinePoolSize = 256
	o.PipelineReadBufferSize, o.PipelineWriteBufferSize = pipelineBuffer, pipelineBuffer
	return redis.NewClient(o)
}

// SetInstrument sets who learns of the commands. Call it before the first use.
func (c *Client) SetInstrument(i Instrument) { c.instrument = i }

// Traced returns the client whose hooks see the commands of traces that are
// recorded live. Add hooks before the first use.
func (c *Client) Traced() *redis.Client { return c.traced }

// Process runs one command over the shared connection. If it returns an error
// that is not a [redis.Error], the command may still be written to: do not read
// it.
func (c *Client) Process(ctx context.Context, cmd redis.Cmder) error {
	return c.observe(ctx, cmd, c.send)
}

// observe runs a command and tells the instrument.
func (c *Client) observe(ctx context.Context, cmd redis.Cmder, send processor) error {
	if c.instrument == nil {
		return send(ctx, cmd)
	}
	started := time.Now()
	var err error
	if c.instrument.Traced(ctx) {
		err = c.processTraced(ctx, cmd)
	} else {
		err = send(ctx, cmd)
	}
	c.instrument.Command(ctx, commandName(cmd), started, time.Since(started), err)
	return err
}

// send submits a command and waits until it is answered or Redis is silent.
func (c *Client) send(ctx context.Context, cmd redis.Cmder) error {
	epoch := c.silence.epoch.Load()
	if epoch.silent != nil {
		return epoch.silent
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	c.commands.Add(1)
	err := c.pipe.Submit(ctx, cmd).WaitContext(epoch.ctx) //nolint:contextcheck // a silence ends the wait, its caller does not
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return context.Cause(epoch.ctx) //nolint:contextcheck // the same
	}
	if errors.Is(err, redis.ErrAutoPipelineQueueFull) {
		c.refused.Add(1)
	}
	return err
}

// commandName returns the upper-case name, without allocating for the commands
// that requests need.
func commandName(cmd redis.Cmder) string {
	switch name := cmd.Name(); name {
	case nameGetRange:
		return "GETRANGE"
	case nameEvalSHA:
		return "EVALSHA"
	case nameEval:
		return "EVAL"
	default:
		return strings.ToUpper(name)
	}
}

// Open opens the connections, so that the first requests find them open. If it
// returns an error, Redis is silent, and the Client keeps asking for it.
func (c *Client) Open(ctx context.Context) error {
	if err := c.prober.ask(ctx, c.prober.budget); err != nil {
		if !replied(err) {
			c.silence.fall(err)
		}
		return unavailable(err)
	}
	if err := c.send(ctx, newGetRange(ctx, probeRecord, 1)); err != nil {
		return unavailable(err)
	}
	c.renewRecords(ctx)
	return nil
}

// Available returns nil, or why Redis cannot be asked now.
func (c *Client) Available() error {
	if err := c.silence.epoch.Load().silent; err != nil {
		return unavailable(err)
	}
	return nil
}

// Probe asks Redis, over a connection of its own, what requests ask. An error
// reply is an error here, though it is no silence.
func (c *Client) Probe(ctx context.Context) error {
	if err := c.Available(); err != nil {
		return err
	}
	return unavailable(c.prober.ask(context.WithoutCancel(ctx), c.prober.budget))
}

// Close closes all connections. Commands that wait are answered first, if Redis
// answers.
func (c *Client) Close() error {
	c.silence.close()
	_ = c.traced.Close() // it has no connections
	c.records.close()
	c.prober.close()
	if err := c.shared.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("closing the connection to Redis: %w", err)
	}
	return nil
}
