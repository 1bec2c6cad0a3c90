package tools

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

// fakeDocker names the environment variable that turns the test binary into
// docker and docker compose. Its value names the state of the containers.
const fakeDocker = "TYK_PROXY_TEST_FAKE_DOCKER"

func TestMain(m *testing.M) {
	if state := os.Getenv(fakeDocker); state != "" {
		if err := playDocker(state, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// container is what the templates of `docker inspect -f` read.
type container struct {
	Name  string
	State struct {
		Status string
		Health *health
	}
}

type health struct {
	Status string
	Log    []probe
}

type probe struct {
	ExitCode int
	Output   string
}

// containers returns the containers of a stack by their ids.
func containers(state string) map[string]*container {
	all := map[string]*container{"1": {Name: "/gateway-1"}, "2": {Name: "/backend-1"}, "3": {Name: "/jaeger-1"}}
	for _, c := range all {
		c.State.Status = "running"
	}
	all["1"].State.Health = &health{Status: "healthy", Log: []probe{{0, "ready"}}}
	all["3"].State.Health = &health{Status: "healthy"}
	if state == "unhealthy" {
		all["1"].State.Health = &health{Status: "unhealthy", Log: []probe{
			{1, "an older answer"}, {1, "503 store_unavailable:\nNOPERM GETRANGE"},
		}}
		all["3"].State.Status, all["3"].State.Health = "exited", nil
	}
	return all
}

func playDocker(state string, args []string) error {
	switch command := strings.Join(args, " "); {
	case command == "compose config --services":
		fmt.Print("gateway\nbackend\njaeger\n")
	case command == "compose ps -a -q":
		fmt.Print("1\n2\n3\n")
		if state == "unhealthy" {
			fmt.Println("4") // it is gone when it is inspected
		}
	case strings.HasPrefix(command, "compose port "):
		fmt.Println("0.0.0.0:" + args[len(args)-1])
	case strings.HasPrefix(command, "inspect -f "):
		c := containers(state)[args[3]]
		if c == nil {
			return errors.New("no such object: " + args[3])
		}
		format, err := template.New("").Parse(args[2])
		if err != nil {
			return err
		}
		defer fmt.Println()
		return format.Execute(os.Stdout, c)
	case strings.HasPrefix(command, "logs --tail 10 "):
		fmt.Println("stdout of", args[3])
		fmt.Fprintln(os.Stderr, "stderr of", args[3])
	default:
		return errors.New("unexpected command: docker " + command)
	}
	return nil
}

// waitHealthy runs the script with a docker that has containers in a state.
func waitHealthy(t *testing.T, state string) (output string, exitCode int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "docker")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", repoFile(".ci/wait-healthy"), "0")
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "COMPOSE=docker compose", fakeDocker + "=" + state}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestWaitHealthy(t *testing.T) {
	out, code := waitHealthy(t, "healthy")
	if code != 0 || !strings.Contains(out, "healthy after 0 s") || !strings.Contains(out, "http://localhost:8080/ready") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestWaitHealthySaysWhy(t *testing.T) {
	const want = `not healthy after 0 s: gateway-1 running unhealthy; jaeger-1 exited none; Error: no such object: 4;
--- gateway-1
last health answer:
  exit code 1: 503 store_unavailable:
  NOPERM GETRANGE
last log lines:
  stdout of 1
  stderr of 1
--- jaeger-1
last health answer:
  none
last log lines:
  stdout of 3
  stderr of 3
--- Error: no such object: 4
last health answer:
  Error: no such object: 4
last log lines:
  stdout of 4
  stderr of 4
more: make logs
`
	if out, code := waitHealthy(t, "unhealthy"); code != 1 || out != want {
		t.Errorf("exit code %d, output:\n%s\nwant 1 and:\n%s", code, out, want)
	}
}
