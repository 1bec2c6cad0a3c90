// Package dotenv tells the programs that run beside docker-compose.yml what the
// file .env, which compose reads too, says about the gateway.
//
// A variable of the environment wins over the file, and both win over the file
// of the gateway's configuration.
package dotenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/joho/godotenv"

	"tyk_proxy/app/config"
)

// gatewayConfig names the variable that names the gateway's configuration file.
// It is not a flag because those of token_gen are fixed.
const gatewayConfig = "GATEWAY_CONFIG"

// Read adds the variables of .env in the working directory to the environment of
// this process. What the environment has already stays. No such file is no
// error.
func Read() error {
	err := godotenv.Load()
	var pathErr *fs.PathError
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &pathErr):
		return err
	default:
		// The error of godotenv 1.5.1 repeats the text of the file, secrets included.
		return errors.New(".env: cannot be read: want lines of NAME=value and each quote closed")
	}
}

// Gateway returns the configuration of the gateway that a tool talks to: that of
// the file which GATEWAY_CONFIG names, overridden by the environment. Without
// GATEWAY_CONFIG it returns an empty one.
func Gateway() (config.Config, error) {
	path := os.Getenv(gatewayConfig)
	if path == "" {
		return config.Config{}, nil
	}
	return config.LoadValues(path, true)
}

// Port returns the port of this host at which docker-compose.yml publishes a
// service: that of the variable, such as GATEWAY_PORT, or usual if it is not set.
// It returns usual beside an error, which is for a warning: Kubernetes sets a
// variable of that name to a URL if there is a service called gateway.
func Port(variable string, usual int) (int, error) {
	text := os.Getenv(variable)
	if text == "" {
		return usual, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return usual, fmt.Errorf("%s is %q, not a port from 1 to 65535: %d is used", variable, text, usual)
	}
	return int(port), nil
}
