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

// defaultMaxQueued bounds the commands that are queued or sent and not answered.
// Redis, at a hundred thousand commands a second, answers them in a tenth of a
// second.
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
	Timeout     time.Duration // Redis is silent if no byte comes for this long
	MaxQueued   int           // commands accepted and not answered; 0 means 8192

	// ClientSideCache keeps records in memory; Redis reports when they change.
	// It is off if Redis does not speak RESP3 or DB is not 0.
	ClientSideCache bool

	// CountOptional says that requests pass if they cannot be counted, so that
	// Probe succeeds although Redis refuses to count.
	CountOptional bool

	// Changed is called with the reason when Redis falls silent, and with nil
	// when it answers again. Calls do not overlap. Changed may be nil.
	Changed func(reason error)
}

// Instrument learns of every command that a Client runs. Implementations are
// safe for concurrent use.
type Instrument interface {
	// Traced reports whether a command belongs to a sampled trace. If it does,
	// the command passes the hooks of Client.Traced.
	Traced(ctx context.Context) bool
	// Command is called when a command has ended, with its upper-case name, its
	// start, its duration and the error of go-redis.
	Command(ctx context.Context, name string, started time.Time, elapsed time.Duration, err error)
}

// Client runs commands on Redis. All callers share one connection, on which
// go-redis sends their commands in batches. Commands have no timers; the
// connection has a read timeout. When it passes, Redis is silent: all callers
// that wait get an error at once, and no command is sent until a probe is
// answered.
//
// A Client ignores the cancellation of a caller's context, because Redis runs a
// command that was sent in any case, and answers soon.
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

// NewClient returns a client. It opens no connection, so that the gateway can
// start, and report that it is not ready, without Redis.
func NewClient(o Options) *Client {
	if o.MaxQueued == 0 {
		o.MaxQueued = defaultMaxQueued
	}
	c := &Client{options: o, prober: newProber(o)}
	c.silence = newSilence(o, c.prober)
	c.silence.fallen, c.silence.back = c.records.drop, c.renewRecords
	c.shared = c.newShared()
	// Half duplex: a command on the same host takes 2.1 µs, and 3.8 µs in full
	// duplex (BenchmarkDuplex). In go-redis v9.23 only half duplex refuses
	// commands beyond MaxQueuedCommands, and has just one batch on the way when
	// Redis falls silent.
	pipe, err := c.shared.AsyncAutoPipelineWithOptions(&redis.AutoPipelineOptions{MaxQueuedCommands: o.MaxQueued})
	if err != nil {
		panic(fmt.Sprintf("redisstore: invalid options for the pipeline: %v", err))
	}
	c.pipe = pipe
	c.traced = redis.NewClient(o.base())
	return c
}

// base returns the options that all go-redis clients of a Client share. Retries
// are off: a script may have run before a read timed out, and a second run would
// count the request twice.
func (o Options) base() *redis.Options {
	return &redis.Options{
		Addr:            o.Addr,
		Username:        o.Username,
		Password:        o.Password,
		DB:              o.DB,
		Dialer:          o.dialPlain, // TLS included
		Protocol:        2,
		DialTimeout:     o.DialTimeout,
		DialerRetries:   1,
		ReadTimeout:     o.Timeout,
		WriteTimeout:    o.Timeout,
		PoolSize:        1,
		MaxRetries:      -1,
		DisableIdentity: true,
		// Saves a command per connection, which only managed clusters understand.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (c *Client) newShared() *redis.Client {
	o := c.options.base()
	o.Dialer = c.dial
	o.Limiter = c.silence
	// One connection suffices, because there is one batch at a time. But go-redis
	// v9.23 pauses for a second after PipelinePoolSize refused connections.
	o.PipelinePoolSize = 256
	o.PipelineReadBufferSize, o.PipelineWriteBufferSize = pipelineBuffer, pipelineBuffer
	return redis.NewClient(o)
}

// SetInstrument sets the instrument. Call it before the first use.
func (c *Client) SetInstrument(i Instrument) { c.instrument = i }

// Traced returns the client whose hooks see the commands of sampled traces. Add
// hooks before the first use.
func (c *Client) Traced() *redis.Client { return c.traced }

// Process runs one command over the shared connection. If it returns an error
// that is not a [redis.Error], do not read the command: go-redis may still write
// to it.
func (c *Client) Process(ctx context.Context, cmd redis.Cmder) error {
	return c.observe(ctx, cmd, c.send)
}

// observe runs a command and reports it to the instrument.
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
	err := c.pipe.Submit(ctx, cmd).WaitContext(epoch.ctx) //nolint:contextcheck // only a silence ends the wait
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

// commandName returns the upper-case name. It does not allocate for the commands
// of requests.
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

// Open opens the connections, so that the first requests need not. If Redis does
// not answer, it returns an error, and the Client keeps probing.
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

// Available returns an error while Redis is silent.
func (c *Client) Available() error {
	if err := c.silence.epoch.Load().silent; err != nil {
		return unavailable(err)
	}
	return nil
}

// Probe runs the commands of requests over a connection of its own. It also
// returns an error if Redis answers with one, which is not a silence.
func (c *Client) Probe(ctx context.Context) error {
	if err := c.Available(); err != nil {
		return err
	}
	err := c.prober.ask(context.WithoutCancel(ctx), c.prober.budget)
	var uncounted countError
	if c.options.CountOptional && replied(err) && errors.As(err, &uncounted) {
		return nil
	}
	return unavailable(err)
}

// Close closes all connections. If Redis answers, it waits for the commands that
// were accepted.
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
