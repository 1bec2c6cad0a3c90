// Command tyk_proxy is the gateway. Its flags select the configuration; all
// settings are in app/config/CONFIG.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tyk_proxy/app"
)

func main() {
	// The second signal must not be lost while the first one is handled.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// They have a channel of their own, so that they cannot displace a stop.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	// If the reader of stdout or stderr goes away, the write fails and the gateway
	// goes on. By default Go ends a process that writes to a broken stdout or stderr.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals, hangups))
}

// lastWordGrace is how long the program waits at its end for the reader of stderr.
const lastWordGrace = time.Second

// run returns the exit code: 0 after a clean stop, 1 after a failure, 2 if the
// command line is invalid. Each signal on signals starts the stop or ends it. One on
// hangups asks for the settings to be read again.
func run(args []string, stdout, stderr io.Writer, signals, hangups <-chan os.Signal) int {
	o := app.Options{Stdout: stdout, Stderr: stderr, Hangups: hangups}
	flags := flag.NewFlagSet("tyk_proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.ConfigPath, "config", "", "path to config file")
	flags.BoolVar(&o.UseEnv, "env", false, "override json config values by ENV vars")
	flags.BoolVar(&o.Embedded, "embedded", false, "run Redis and a backend inside this process")
	version := flags.Bool("version", false, "show version")
	healthcheck := flags.Bool("healthcheck", false, "ask the running gateway's /ready, exit 0 or 1")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "tyk_proxy: unexpected argument %q: all settings are flags, see -help\n", flags.Arg(0))
		return 2
	case *version:
		fmt.Fprintln(stdout, "tyk_proxy", app.Version)
		return 0
	case *healthcheck:
		err = app.Healthcheck(context.Background(), o)
	default:
		err = app.Run(context.Background(), o, signals)
	}
	if err != nil {
		lastWord(stderr, err)
		return 1
	}
	return 0
}

// lastWord writes the error that ends the program. It returns after lastWordGrace
// even if nobody reads stderr.
func lastWord(stderr io.Writer, err error) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		fmt.Fprintln(stderr, "tyk_proxy:", err)
	}()
	select {
	case <-written:
	case <-time.After(lastWordGrace):
	}
}
