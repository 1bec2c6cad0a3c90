// Command bench measures the gateway from outside: it starts Redis, a backend,
// the gateway in several configurations and other proxies beside it, sends load
// to them in turn and reports what each request cost. It is a report and not a
// test: no figure makes it fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	rounds      int
	duration    time.Duration
	connections int
	only        string
	growth      bool
	quick       bool
	out         string
	repo        string
}

func main() {
	// The servers that this program contains are run as processes of their own,
	// so that their CPU time can be read.
	if len(os.Args) == 4 && os.Args[1] == serveMode {
		fmt.Fprintln(os.Stderr, serve(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	// Also where the reader of the report goes away, everything is stopped.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	code := 0
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	stop()
	os.Exit(code)
}

func parseOptions(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&opts.rounds, "rounds", 5, "rounds; each drives every variant once")
	flags.DurationVar(&opts.duration, "duration", 3*time.Second, "time of one variant in one round, whole seconds")
	flags.IntVar(&opts.connections, "connections", 64, "keep-alive connections of the closed loop")
	flags.StringVar(&opts.only, "only", "", "variants to run, comma separated (BASE is always run): "+strings.Join(variantNames(), ", "))
	flags.BoolVar(&opts.growth, "growth", false, "also report growth: connections, tokens, routes, gateways, cold start, silent Redis")
	flags.BoolVar(&opts.quick, "quick", false, "a run of about a minute: 2 rounds of 2s, and less of the growth")
	flags.StringVar(&opts.out, "out", "",
		"directory for BENCH.md and images/bench.svg (default observability/ of the repository; - writes none)")
	flags.StringVar(&opts.repo, "repo", "..", "the repository")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if opts.quick {
		opts.rounds, opts.duration = 2, 2*time.Second
	}
	if opts.out == "" {
		opts.out = filepath.Join(opts.repo, "observability")
	}
	if flags.NArg() > 0 || opts.rounds < 1 || opts.duration < time.Second || opts.connections < 1 {
		return opts, fmt.Errorf("want flags only, 1 round, 1s and 1 connection or more: %q", args)
	}
	return opts, nil
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	opts, err := parseOptions(args)
	if err != nil {
		return err
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	lab, err := newLab(ctx, opts.repo)
	if err != nil {
		return err
	}
	defer lab.close()
	doc := newReport(stdout, opts)
	if err := measure(lab, opts, doc); err != nil { //nolint:contextcheck // the lab holds the context of the run
		return err
	}
	if opts.out == "-" {
		return nil
	}
	return doc.write(opts.out)
}

// measure runs the parts of the report one after the other, and prints each
// when it is done.
func measure(lab *lab, opts options, doc *report) error {
	variants, notes, err := lab.startVariants(opts.only)
	if err != nil {
		return err
	}
	results, err := lab.rounds(variants, opts)
	if err != nil {
		return err
	}
	doc.costs(results, notes)
	if err := lab.openLoop(results, opts, doc); err != nil {
		return err
	}
	if !opts.growth {
		return nil
	}
	for _, v := range variants {
		if v.name != nameBase {
			v.server.stop()
		}
	}
	return lab.growth(variants[0], opts, doc)
}

// raiseFileLimit lets this process and its children open as many files as the
// system allows: thousands of connections need as many.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}
