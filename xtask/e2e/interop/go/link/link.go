package main

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	protocol = "carrotcache/1"
	basePath = "/_groupcache/"
	protobuf = "application/x-protobuf"

	// getTime is how long a get may take.
	getTime = 10 * time.Second
	// patience is for everything together, so that nothing hangs.
	patience = 60 * time.Second
	// maxValue is the longest value that is taken over a link.
	maxValue = 1 << 20
	// maxFrame is the longest payload that is read. Any refusal fits too.
	maxFrame = maxValue + prefixBytes
)

// link is a connection over which frames go. It is used by one goroutine, which
// never has so much to write that the owner would have to be read meanwhile.
type link struct {
	conn  net.Conn
	in    *bufio.Reader
	owner hello
	gets  uint32
	// What gets are under way; false if nobody waits for the answer.
	wanted map[id]bool
	// Which gets the owner says it is loading.
	loading map[id]bool
	parted  bool
}

// errPlain says that a peer has no links; its answer over HTTP is beside it.
var errPlain = errors.New("the peer is plain")

// connect asks the node at addr for a key, and for a link. The key's answer comes
// over the link as that of the id first; with errPlain it is there already.
func connect(addr, group, key string) (*link, *http.Response, error) {
	base, err := url.Parse(addr)
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.DialTimeout("tcp", base.Host, getTime)
	if err != nil {
		return nil, nil, err
	}
	l := &link{
		conn:    conn,
		in:      bufio.NewReader(conn),
		gets:    1,
		wanted:  map[id]bool{first: true},
		loading: map[id]bool{},
	}
	response, err := l.negotiate(base.Host, group, key)
	if err != nil {
		if !errors.Is(err, errPlain) {
			conn.Close()
		}
		return nil, response, err
	}
	return l, nil, nil
}

// negotiate exchanges heads and HELLOs.
func (l *link) negotiate(host, group, key string) (*http.Response, error) {
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	_, err := fmt.Fprintf(l.conn, "GET %s HTTP/1.1\r\nhost: %s\r\nconnection: Upgrade\r\nupgrade: %s\r\n"+
		"carrotcache-time-left: %d\r\n\r\n", pathOf(group, key), host, protocol, getTime.Milliseconds())
	if err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return response, errPlain
	}
	if got := response.Header.Get("upgrade"); got != protocol {
		return nil, fmt.Errorf("the peer changes to %q", got)
	}
	ours := hello{version: version, oldest: version, maxRequest: leastMaxRequest, maxValue: maxValue}
	if err := binary.Read(rand.Reader, binary.LittleEndian, &ours.incarnation); err != nil {
		return nil, err
	}
	if err := l.send(ours.frame()); err != nil {
		return nil, err
	}
	hello, err := readFrame(l.in, maxFrame)
	if err != nil {
		return nil, fmt.Errorf("no HELLO: %w", err)
	}
	l.owner, err = parseHello(hello)
	return nil, err
}

// pathOf is the path of a key, in which a space is no plus.
func pathOf(group, key string) string {
	escape := func(text string) string {
		return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	}
	return basePath + escape(group) + "/" + escape(key)
}

// send writes frames, all of them at once.
func (l *link) send(frames ...frame) error {
	var b []byte
	for _, f := range frames {
		b = f.appendTo(b)
	}
	_, err := l.conn.Write(b)
	return err
}

// newID returns the id of a get that is about to be sent.
func (l *link) newID() id {
	i := id{slot: l.gets % 16, generation: l.gets}
	l.gets++
	l.wanted[i] = true
	return i
}

// get makes a get, to be sent.
func (l *link) get(group, key string) (id, frame) {
	i := l.newID()
	return i, getFrame(i, uint32(getTime.Milliseconds()), group, key)
}

// cancel makes the frame by which a get is given up.
func (l *link) cancel(i id) frame {
	l.wanted[i] = false
	return frame{kind: kindCancel, id: i}
}

// next returns the next frame that somebody waits for: an answer, a LOADING, a
// PONG, a GOAWAY. Whatever else may come is looked at and skipped.
func (l *link) next() (frame, error) {
	for {
		f, err := readFrame(l.in, maxFrame)
		if err != nil {
			return frame{}, err
		}
		switch f.kind {
		case kindValue, kindRefusal:
			wanted, underWay := l.wanted[f.id]
			if !underWay {
				return frame{}, fmt.Errorf("an answer to %v, which was not asked or answered before", f.id)
			}
			delete(l.wanted, f.id)
			if wanted {
				return f, nil
			}
		case kindLoading:
			if l.loading[f.id] {
				return frame{}, fmt.Errorf("a second LOADING for %v", f.id)
			}
			l.loading[f.id] = true
			if l.wanted[f.id] {
				return f, nil
			}
		case kindGoAway:
			l.parted = true
			return f, nil
		case kindPong:
			return f, nil
		}
	}
}

// answers returns the answers to these gets, in the order in which they come.
func (l *link) answers(ids ...id) ([]frame, error) {
	open := make(map[id]bool, len(ids))
	for _, i := range ids {
		open[i] = true
	}
	var answers []frame
	for len(open) > 0 {
		f, err := l.next()
		switch {
		case err != nil:
			return nil, err
		case (f.kind == kindValue || f.kind == kindRefusal) && open[f.id]:
			delete(open, f.id)
			answers = append(answers, f)
		case f.kind == kindValue || f.kind == kindRefusal:
			return nil, fmt.Errorf("an answer to %v came, which nobody waits for here", f.id)
		}
	}
	return answers, nil
}

// answer returns the answer to one get.
func (l *link) answer(i id) (frame, error) {
	answers, err := l.answers(i)
	if err != nil {
		return frame{}, err
	}
	return answers[0], nil
}

// overHTTP fetches a value by an ordinary get.
func overHTTP(addr, group, key string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(addr, "/"), nil)
	if err != nil {
		return nil, err
	}
	// As it is: parsing would decode it, and printing encode it otherwise.
	request.URL.Opaque = "//" + request.URL.Host + pathOf(group, key)
	client := http.Client{Timeout: getTime}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	return valueOfResponse(response)
}

// valueOfResponse reads the value out of an answer over HTTP.
func valueOfResponse(response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if kind := response.Header.Get("content-type"); response.StatusCode != http.StatusOK || kind != protobuf {
		return nil, fmt.Errorf("status %d of type %q: %.100q", response.StatusCode, kind, body)
	}
	if len(body) == 0 || body[0] != 0x0a {
		return nil, errors.New("the message does not begin with a value")
	}
	length, read := binary.Uvarint(body[1:])
	if read <= 0 || length > uint64(len(body)-1-read) {
		return nil, errors.New("the value is cut short")
	}
	return body[1+read:][:length], nil
}
