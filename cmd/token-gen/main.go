// Command token-gen mints a token: a signed JWT and its record in Redis.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"tyk_proxy/app/config"
	"tyk_proxy/app/config/dotenv"
	"tyk_proxy/app/mint"
	"tyk_proxy/middleware/redisstore"
)

// timeout bounds the one write to Redis, connecting included.
const timeout = 5 * time.Second

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 if a token was minted, 1 if none was, and 2 if the
// command line is invalid.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("token_gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	limit := flags.Int64("limit", 10, "requests per window")
	prefix := flags.String("prefix", redisstore.RecordPrefix, "prefix of the record's key in Redis")
	addr := flags.String("redis", "localhost:6379", "address of Redis, host:port")
	routes := flags.String("routes", strings.Join(mint.DefaultRoutes(), ",")+",", "allowed routes, comma separated")
	secret := flags.String("secret", "", "JWT signing secret (required)")
	ttl := flags.Duration("ttl", 24*time.Hour, "life of the token")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "token_gen: unexpected argument %q: all settings are flags, see -help\n", flags.Arg(0))
		return 2
	}
	err := complete(flags, addr, secret, stderr)
	if err == nil {
		err = printToken(stdout, stderr, *addr, mint.Request{
			Prefix: *prefix, Secret: *secret, Limit: *limit, Routes: splitRoutes(*routes), TTL: *ttl, Now: time.Now(),
		})
	}
	if err != nil {
		fmt.Fprintln(stderr, "token_gen:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// complete takes what the command line leaves out from the environment and .env,
// as docker compose does: the port at which it publishes Redis, and the gateway's
// secret.
func complete(flags *flag.FlagSet, addr, secret *string, stderr io.Writer) error {
	if err := dotenv.Read(); err != nil {
		return err
	}
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == "redis" })
	if !given {
		*addr = "localhost:" + port("REDIS_PORT", 6379, stderr)
	}
	if *secret != "" {
		return nil
	}
	cfg, err := dotenv.Gateway()
	*secret = string(cfg.Application.Token.JWTSecret)
	return err
}

// port returns the port that the variable moves a published port to. It warns of
// a value that is not a port, and returns the usual one.
func port(variable string, usual int, stderr io.Writer) string {
	number, err := dotenv.Port(variable, usual)
	if err != nil {
		fmt.Fprintln(stderr, "token_gen:", err)
	}
	return strconv.Itoa(number)
}

func splitRoutes(list string) []string {
	var routes []string
	for route := range strings.SplitSeq(list, ",") {
		if route = strings.TrimSpace(route); route != "" {
			routes = append(routes, route)
		}
	}
	return routes
}

func printToken(stdout, stderr io.Writer, addr string, request mint.Request) error {
	if request.Secret == "" {
		return errors.New("-secret is missing: give it the gateway's application.token.jwt_secret (make gen does)")
	}
	// go-redis uses localhost:6379 if the address is empty, as from an unset
	// variable: the record would be in a Redis that was not named.
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("-redis is %q: want host:port, such as localhost:6379", addr)
	}
	logging.Disable() // go-redis would also log a failed dial
	client := mint.NewClient(addr, timeout)
	defer func() { _ = client.Close() }() // nothing is buffered
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	minted, err := mint.New(ctx, client, request)
	if err != nil {
		return fmt.Errorf("no token minted (-redis %s): %w", addr, err)
	}
	quoted := make([]string, len(minted.Routes))
	for i, route := range minted.Routes {
		quoted[i] = fmt.Sprintf("%q", route)
	}
	fmt.Fprintln(stdout, "Token created successfully!")
	fmt.Fprintln(stdout, "api_key:", minted.APIKey)
	fmt.Fprintln(stdout, "storage_key:", minted.StorageKey)
	fmt.Fprintln(stdout, "jwt:", minted.JWT)
	fmt.Fprintln(stdout, "expires_at:", minted.ExpiresAt.Format(time.RFC3339))
	fmt.Fprintf(stdout, "allowed routes: [%s]\n", strings.Join(quoted, ","))
	fmt.Fprintln(stdout, "curl example:")
	fmt.Fprintln(stdout, minted.CurlExample("http://localhost:"+port("GATEWAY_PORT", config.DefaultPort, stderr)))
	return nil
}
