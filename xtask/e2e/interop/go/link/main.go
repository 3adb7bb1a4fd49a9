// Command link is a client of the link between nodes, written from the page
// `protocol` of the docs of carrotcache-peer-http alone, with Go's standard
// library alone. It asks a node in every way that the page knows, and writes a
// line for each thing that was as the page says: what it is, a tab, what was found.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// config is what the command line says.
type config struct {
	addr, group, check string
	absent             string
	// The path of the file that holds the value, behind the key.
	largest, tooLarge row
	rows              []row
}

// row is a key and its value.
type row struct{ key, value string }

func main() {
	cfg, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		os.Exit(2)
	}
}

func run(cfg config) error {
	switch cfg.check {
	case "tour":
		return tour(cfg)
	case "fails":
		return fails(cfg)
	case "goaway":
		return untilGoAway(cfg)
	case "plain":
		return plain(cfg)
	}
	return fmt.Errorf("--check %q is none of tour, fails, goaway, plain", cfg.check)
}

// plain asks a peer for a link that has none: the answer is the value.
func plain(cfg config) error {
	want := cfg.rows[0]
	_, response, err := connect(cfg.addr, cfg.group, want.key)
	if !errors.Is(err, errPlain) {
		return fmt.Errorf("not a plain peer: %v", err)
	}
	value, err := valueOfResponse(response)
	if err := same(want, value, err); err != nil {
		return err
	}
	found("a plain peer answers the get that asks for a link", "status %d", response.StatusCode)
	return nil
}

// fails asks a node that cannot load any more for a key that it has, and for one
// that it would have to load, which is named with any value.
func fails(cfg config) error {
	if len(cfg.rows) < 2 {
		return errors.New("a key that is cached and one that is not are needed")
	}
	cached, failing := cfg.rows[0], cfg.rows[1]
	l, _, err := connect(cfg.addr, cfg.group, cached.key)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	f, err := l.answer(first)
	if err != nil {
		return err
	}
	value, err := valueOrRefusal(f)
	if err := same(cached, value, err); err != nil {
		return err
	}
	t := &tourist{link: l, cfg: cfg}
	_, _, err = t.ask(cfg.group, failing.key)
	return t.refused("a key whose load fails", loadFailed, err)
}

// untilGoAway has a get under way until the owner wants to end, which is for
// somebody else to bring about once "loading" was written.
func untilGoAway(cfg config) error {
	want := cfg.rows[0]
	l, _, err := connect(cfg.addr, cfg.group, want.key)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	if f, err := l.next(); err != nil || f.kind != kindLoading {
		return fmt.Errorf("a frame of kind %d, no LOADING: %v", f.kind, err)
	}
	found("loading", "%s", want.key)
	order, answered := "", false
	for !answered || !l.parted {
		f, err := l.next()
		switch {
		case err != nil:
			return fmt.Errorf("before the answer and the GOAWAY: %w", err)
		case f.kind == kindGoAway:
			order += "G"
		default:
			value, err := valueOrRefusal(f)
			if err := same(want, value, err); err != nil {
				return err
			}
			answered, order = true, order+"V"
		}
	}
	found("an owner that ends says so, and answers what is under way", "%s", map[string]string{
		"GV": "GOAWAY, then the value",
		"VG": "the value, then GOAWAY",
	}[order])
	return nil
}

// found writes what held.
func found(what, format string, args ...interface{}) {
	fmt.Printf("%s\t%s\n", what, fmt.Sprintf(format, args...))
}

// same compares a value with what it has to be.
func same(want row, value []byte, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", want.key, err)
	case string(value) != want.value:
		return fmt.Errorf("%q: %d wrong bytes: %.40q", want.key, len(value), value)
	}
	return nil
}

// sameAsFile compares a value with a file.
func sameAsFile(want row, value []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%q: %w", want.key, err)
	}
	file, err := os.ReadFile(want.value)
	if err != nil {
		return err
	}
	if !bytes.Equal(file, value) {
		return fmt.Errorf("%q: %d wrong bytes for %d", want.key, len(value), len(file))
	}
	return nil
}

func parseFlags(args []string) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("link", flag.ContinueOnError)
	flags.StringVar(&cfg.addr, "addr", "", "the node's base URL")
	flags.StringVar(&cfg.group, "group", "scores", "the group that the keys are in")
	flags.StringVar(&cfg.check, "check", "tour", "what to do: tour, fails, goaway or plain")
	flags.StringVar(&cfg.absent, "absent", "", "a key that there is none of")
	flags.Var(&cfg.largest, "largest", "KEY=FILE with the longest value that goes over a link")
	flags.Var(&cfg.tooLarge, "too-large", "KEY=FILE with a longer value")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	for _, arg := range flags.Args() {
		var r row
		if err := r.Set(arg); err != nil {
			return cfg, err
		}
		cfg.rows = append(cfg.rows, r)
	}
	if cfg.addr == "" || len(cfg.rows) == 0 {
		return cfg, errors.New("--addr and keys with their values, as KEY=VALUE, are needed")
	}
	return cfg, nil
}

// Set reads "key=value".
func (r *row) Set(text string) error {
	at := strings.LastIndexByte(text, '=')
	if at < 0 {
		return fmt.Errorf("%q is no KEY=VALUE", text)
	}
	r.key, r.value = text[:at], text[at+1:]
	return nil
}

func (r *row) String() string { return r.key + "=" + r.value }
