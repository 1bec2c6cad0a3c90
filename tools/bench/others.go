package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
)

//go:embed conf
var confFiles embed.FS

// errMissing says that something is not installed here.
var errMissing = errors.New("not installed")

func isMissing(err error) bool { return errors.Is(err, errMissing) || errors.Is(err, exec.ErrNotFound) }

// conf is what the templates of the configurations are given.
type conf struct {
	Name, Dir, Addr, Backend string
	CPUs, Files              int
	Root                     bool     // this is root, whose files nginx' workers must read
	Modules                  []string // of nginx
	Script                   string   // run by nginx for each request
	Secret, ScriptSHA        string
	RedisHost                string
	RedisPort                int
}

func (l *lab) newConf() (conf, error) {
	addr, err := freeAddr()
	c := conf{
		Name: fmt.Sprintf("proxy-%d", portOf(addr)), Dir: l.dir, Addr: addr, CPUs: runtime.NumCPU(), Files: 20000,
		Root: os.Geteuid() == 0, RedisHost: "127.0.0.1", RedisPort: portOf(l.redis.addr),
	}
	if l.backend != nil {
		c.Backend = l.backend.addr
	}
	return c, err
}

// render writes a configuration from its template and returns the file's name.
func (l *lab) render(name string, c conf) (string, error) {
	tmpl, err := template.ParseFS(confFiles, "conf/"+name)
	if err != nil {
		return "", fmt.Errorf("reading a template: %w", err)
	}
	file := filepath.Join(l.dir, c.Name+"-"+name)
	var text bytes.Buffer
	if err := tmpl.Execute(&text, c); err != nil {
		return "", fmt.Errorf("writing a configuration: %w", err)
	}
	return file, os.WriteFile(file, text.Bytes(), 0o600)
}

// startNginx starts nginx with a configuration; prepare may complete it.
func (l *lab) startNginx(name string, prepare func(*conf) error) (*server, error) {
	c, err := l.newConf()
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		if err := prepare(&c); err != nil {
			return nil, err
		}
	}
	file, err := l.render(name, c)
	if err != nil {
		return nil, err
	}
	s, err := l.start(c.Addr, "nginx", "-e", "stderr", "-p", l.dir, "-c", file)
	if err != nil {
		return nil, err
	}
	s.workers = true
	return s, nil
}

func (l *lab) startPlainNginx() (*server, error) { return l.startNginx("nginx.conf", nil) }

// startLua starts nginx with a Lua program that does the gateway's job, with the
// gateway's own script in Redis.
func (l *lab) startLua() (*server, error) {
	return l.startNginx("nginx.conf", func(c *conf) error {
		if !fileExists("/usr/share/lua/5.1/nginx/redis.lua") {
			return fmt.Errorf("lua-nginx-redis: %w", errMissing)
		}
		for _, name := range []string{"ndk_http_module.so", "ngx_http_lua_module.so"} {
			module := filepath.Join("/usr/lib/nginx/modules", name)
			if !fileExists(module) {
				return fmt.Errorf("%s: %w", name, errMissing)
			}
			c.Modules = append(c.Modules, module)
		}
		script, err := os.ReadFile(filepath.Join(l.repo, "middleware/redisstore/window.lua"))
		if err != nil {
			return fmt.Errorf("reading the limiter's script: %w", err)
		}
		c.ScriptSHA, err = l.tokens.redis.ScriptLoad(l.ctx, string(script)).Result()
		if err != nil {
			return fmt.Errorf("loading the limiter's script: %w", err)
		}
		c.Secret = l.tokens.secret
		c.Script, err = l.render("gateway.lua", *c)
		return err
	})
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func (l *lab) startHAProxy() (*server, error) {
	c, err := l.newConf()
	if err != nil {
		return nil, err
	}
	file, err := l.render("haproxy.cfg", c)
	if err != nil {
		return nil, err
	}
	return l.start(c.Addr, "haproxy", "-db", "-f", file)
}

// wrkScript returns the name of the script with which wrk rotates over tokens.
func (l *lab) wrkScript() (string, error) {
	file := filepath.Join(l.dir, "rotate.lua")
	if fileExists(file) {
		return file, nil
	}
	text, err := confFiles.ReadFile("conf/rotate.lua")
	if err != nil {
		return "", fmt.Errorf("reading the script of wrk: %w", err)
	}
	return file, os.WriteFile(file, []byte(strings.TrimSpace(string(text))+"\n"), 0o600)
}
