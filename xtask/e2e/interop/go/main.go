// Command interop is a node of Go's groupcache, as a Go service would run it:
// unchanged groupcache, its HTTPPool, and a getter over a text file.
//
// It takes the flags of the Rust example `node` and answers on the same paths,
// so that a test can start either kind in any place of a ring.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// drainTime is how long a stopping node waits for answers in flight.
const drainTime = 10 * time.Second

// config is what the command line says.
type config struct {
	addr      string
	peers     []string
	api       string
	db        string
	maxBytes  int64
	slowDB    time.Duration
	idleConns int
	secret    string
	load      int
	loadGets  int
	loadGroup string
}

func main() {
	cfg, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(2)
	}
}

// run serves peers and the API until a signal, or until the load is done.
func run(cfg config) error {
	store, err := openStore(cfg.db, cfg.slowDB)
	if err != nil {
		return err
	}
	peerListener, err := listenAt(cfg.addr)
	if err != nil {
		return err
	}
	node := newNode(cfg, store)
	servers := []*http.Server{serve(peerListener, behindSecret(cfg.secret, node.pool))}
	if cfg.api != "" {
		apiListener, err := net.Listen("tcp", cfg.api)
		if err != nil {
			return err
		}
		servers = append(servers, serve(apiListener, node.routes()))
	}
	fmt.Printf("listening for peers at %s\n", cfg.addr)

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if cfg.load > 0 {
		return node.loadOnEachLine(stop, os.Stdin, os.Stdout)
	}
	<-stop.Done()
	return shutDown(servers)
}

// serve answers on l in the background. The handler is the server's own, not
// one behind a ServeMux, which would redirect the keys "..", "//" and their like
// to another path before groupcache sees them.
func serve(l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "interop:", err)
			os.Exit(2)
		}
	}()
	return s
}

// shutDown lets what is in flight finish, within drainTime.
func shutDown(servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for _, s := range servers {
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return nil
}

// listenAt opens the listener that the base URL names.
func listenAt(baseURL string) (net.Listener, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("--addr %q is no http://host:port", baseURL)
	}
	return net.Listen("tcp", u.Host)
}

func parseFlags(args []string) (config, error) {
	var cfg config
	var peers, maxBytes string
	flags := flag.NewFlagSet("interop", flag.ContinueOnError)
	flags.StringVar(&cfg.addr, "addr", "", "this node's base URL; peers are answered there")
	flags.StringVar(&peers, "peers", "", "base URLs of all nodes, this one included, with commas")
	flags.StringVar(&cfg.api, "api", "", "host:port of the API listener; none if empty")
	flags.StringVar(&cfg.db, "db", "", "file of \"group\"\\t\"key\"\\t\"value\" lines, quoted as Go quotes")
	flags.StringVar(&maxBytes, "max-bytes", "64MiB", "bytes a group may cache")
	flags.DurationVar(&cfg.slowDB, "slow-db", 0, "sleep before each look into the file's data")
	flags.IntVar(&cfg.idleConns, "idle-conns", 0, "idle connections kept a peer; 0 is Go's default, 2")
	flags.StringVar(&cfg.secret, "secret", "", "what peers send in the header carrotcache-secret, and have to")
	flags.IntVar(&cfg.load, "load", 0, "ask the peers this many keys at a time, once a line on stdin")
	flags.IntVar(&cfg.loadGets, "load-gets", 10000, "gets of one such round")
	flags.StringVar(&cfg.loadGroup, "load-group", "load", "group whose keys are asked for")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	var err error
	if cfg.maxBytes, err = parseBytes(maxBytes); err != nil {
		return cfg, fmt.Errorf("--max-bytes: %w", err)
	}
	cfg.peers = strings.Split(peers, ",")
	if cfg.addr == "" || cfg.db == "" || !contains(cfg.peers, cfg.addr) {
		return cfg, errors.New("--addr, --db and --peers are needed, and --peers must name --addr")
	}
	return cfg, nil
}

// parseBytes reads "4096", "64KiB", "64MiB" or "1GiB".
func parseBytes(text string) (int64, error) {
	units := []struct {
		suffix string
		shift  uint
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}}
	number, shift := text, uint(0)
	for _, unit := range units {
		if strings.HasSuffix(text, unit.suffix) {
			number, shift = strings.TrimSuffix(text, unit.suffix), unit.shift
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no size such as 64MiB", text)
	}
	return n << shift, nil
}

func contains(list []string, item string) bool {
	for _, s := range list {
		if s == item {
			return true
		}
	}
	return false
}
