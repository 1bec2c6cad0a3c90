package tools

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
)

func parseDockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	ast, err := parser.Parse(strings.NewReader(readRepoFile(t, "Dockerfile")))
	if err != nil {
		t.Fatalf("Dockerfile does not parse: %v", err)
	}
	stages, _, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		t.Fatalf("Dockerfile does not parse: %v", err)
	}
	return stages
}

func finalStage(t *testing.T, stages []instructions.Stage) instructions.Stage {
	t.Helper()
	if len(stages) < 2 {
		t.Fatalf("%d stage(s), want a build stage and a final one", len(stages))
	}
	return stages[len(stages)-1]
}

// last returns the last command of type T in a stage: the one that counts.
func last[T instructions.Command](s instructions.Stage) (found T, ok bool) {
	for _, c := range s.Commands {
		if cmd, is := c.(T); is {
			found, ok = cmd, true
		}
	}
	return found, ok
}

// healthCheckOf returns the probe's argv, without the leading CMD.
func healthCheckOf(s instructions.Stage) []string {
	hc, ok := last[*instructions.HealthCheckCommand](s)
	if !ok || len(hc.Health.Test) < 2 || hc.Health.Test[0] != "CMD" {
		return nil
	}
	return hc.Health.Test[1:]
}

func TestDockerfileBasesArePinned(t *testing.T) {
	for _, s := range parseDockerfile(t) {
		if s.BaseName != "scratch" && !pinned(s.BaseName) {
			t.Errorf("FROM %s has no tag that names a version", s.BaseName)
		}
	}
}

func TestDockerfileRunsAsNonRoot(t *testing.T) {
	user, ok := last[*instructions.UserCommand](finalStage(t, parseDockerfile(t)))
	if !ok {
		t.Fatal("the final stage has no USER: it would run as root")
	}
	uid, _, _ := strings.Cut(user.User, ":")
	// Numeric, so that an orchestrator can check it without the image's passwd.
	if n, err := strconv.Atoi(uid); err != nil || n == 0 {
		t.Errorf("USER %q, want a number other than 0", user.User)
	}
}

func TestDockerfileFinalStage(t *testing.T) {
	final := finalStage(t, parseDockerfile(t))
	if final.BaseName != "scratch" {
		t.Errorf("final image is FROM %s, want scratch", final.BaseName)
	}
	entry, ok := last[*instructions.EntrypointCommand](final)
	if !ok || entry.PrependShell || !slices.Equal(entry.CmdLine, []string{"/tyk_proxy"}) {
		t.Errorf("ENTRYPOINT %+v, want the exec form of /tyk_proxy: there is no shell", entry)
	}
	cmd, ok := last[*instructions.CmdCommand](final)
	args := []string{"-config", "/etc/tyk_proxy/config.json", "-env"}
	if !ok || cmd.PrependShell || !slices.Equal(cmd.CmdLine, args) {
		t.Errorf("CMD %+v, want %q", cmd, args)
	}
	if got, want := healthCheckOf(final), append([]string{"/tyk_proxy", "-healthcheck"}, args...); !slices.Equal(got, want) {
		t.Errorf("HEALTHCHECK runs %q, want %q", got, want)
	}
	if stop, ok := last[*instructions.StopSignalCommand](final); !ok || stop.Signal != "SIGTERM" {
		t.Error("STOPSIGNAL is not SIGTERM, on which the gateway drains")
	}
}

// The legacy builder, which docker-compose 1.29 uses, knows none of these.
func TestDockerfileNeedsNoBuildKit(t *testing.T) {
	for _, s := range parseDockerfile(t) {
		if s.Platform != "" {
			t.Errorf("FROM %s has --platform", s.BaseName)
		}
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *instructions.RunCommand:
				if len(c.FlagsUsed) > 0 || len(c.Files) > 0 {
					t.Errorf("%s: flags or a here-document", c)
				}
			case *instructions.CopyCommand:
				if c.Chmod != "" || c.Link || c.Parents || len(c.SourceContents) > 0 {
					t.Errorf("%s: --chmod, --link, --parents or a here-document", c)
				}
			}
		}
	}
}

// The ports of the image are those of the configuration it ships.
func TestDockerfileExposesTheConfiguredPorts(t *testing.T) {
	expose, _ := last[*instructions.ExposeCommand](finalStage(t, parseDockerfile(t)))
	want := []string{configured(t).Application, configured(t).Monitoring}
	if expose == nil || !slices.Equal(expose.Ports, want) {
		t.Errorf("EXPOSE %+v, want %q", expose, want)
	}
}

// noRegistry answers for every base image, so that nothing is fetched.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	const config = `{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/bin"]},"rootfs":{"type":"layers"}}`
	return ref, "", []byte(config), nil
}

// lintDockerfile returns what `docker build --check` would say.
func lintDockerfile(t *testing.T, content string) []string {
	t.Helper()
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", []byte(content))
	source.Definition = &llb.Definition{}
	results, err := dockerfile2llb.DockerfileLint(t.Context(), []byte(content), dockerfile2llb.ConvertOpt{
		MetaResolver: noRegistry{},
		SourceMap:    source,
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		t.Fatalf("the Dockerfile does not build: %s", results.Error.Message)
	}
	found := make([]string, 0, len(results.Warnings))
	for _, w := range results.Warnings {
		found = append(found, w.RuleName+": "+w.Detail)
	}
	return found
}

func TestDockerfileLint(t *testing.T) {
	content := readRepoFile(t, "Dockerfile")
	for _, warning := range lintDockerfile(t, content) {
		t.Error(warning)
	}
	// The linter does look, into every stage.
	for from, to := range map[string]string{
		" AS build\n":               " as build\n",
		"WORKDIR /src":              "WORKDIR src",
		`ENTRYPOINT ["/tyk_proxy"]`: "ENTRYPOINT /tyk_proxy",
		"ARG VERSION=dev\nENV":      "ARG JWT_SECRET\nENV",
		"STOPSIGNAL SIGTERM":        "MAINTAINER nobody",
		"ARG VERSION=dev\nLABEL":    "LABEL",
	} {
		spoiled := strings.Replace(content, from, to, 1)
		if spoiled == content {
			t.Errorf("the Dockerfile has no %q", from)
		} else if len(lintDockerfile(t, spoiled)) == 0 {
			t.Errorf("no warning of %q", to)
		}
	}
}
