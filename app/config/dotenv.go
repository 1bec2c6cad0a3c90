package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/joho/godotenv"
)

// ReadDotEnv adds the variables of the file .env in the working directory, which
// docker compose reads too, to the environment of this process. What the
// environment has already stays. No such file is no error.
func ReadDotEnv() error {
	err := godotenv.Load()
	var pathErr *fs.PathError
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &pathErr):
		return err
	default:
		// The error repeats the text of the file, secrets included.
		return errors.New(".env cannot be read: want lines of NAME=value, each quote closed")
	}
}

// PublishedPort returns the port at which docker-compose.yml publishes a service
// on this host: that of the variable, such as GATEWAY_PORT, or usual if it is not
// set. The error is for a warning: Kubernetes sets a variable of that name to a
// URL if there is a service called gateway, which says nothing about compose.
func PublishedPort(variable string, usual int) (int, error) {
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
