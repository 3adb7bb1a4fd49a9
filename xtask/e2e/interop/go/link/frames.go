package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The kinds of frames.
const (
	kindHello   = 1
	kindGet     = 2
	kindGetMany = 3
	kindCancel  = 6
	kindPing    = 7
	kindValue   = 16
	kindRefusal = 17
	kindLoading = 18
	kindPong    = 20
	kindGoAway  = 21
)

// The reasons of a refusal that are told apart here.
const (
	notFound   = 1
	loadFailed = 2
	invalid    = 6
	tooLarge   = 7
)

const (
	headerBytes = 16
	helloBytes  = 32
	version     = 1
	// leastMaxRequest is what every node takes, and what one has to claim to take.
	leastMaxRequest = 64 << 10
	// prefixBytes is the most that stands before a value in its frame.
	prefixBytes = minuteQPSBytes + timesBytes

	flagMinuteQPS  = 0x10
	minuteQPSBytes = 8
	// flagTimes is set if the value tells for how long it is good.
	flagTimes      = 0x20
	timesBytes     = 12
	essentialFlags = 0xf0
)

// id tells which get a frame is about.
type id struct{ slot, generation uint32 }

// first is the get that asked for the link.
var first = id{}

// frame is one frame, as it is sent.
type frame struct {
	kind, flags byte
	aux         uint16
	id          id
	payload     []byte
}

func (f frame) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(f.payload)))
	b = append(b, f.kind, f.flags)
	b = le.AppendUint16(b, f.aux)
	b = f.id.appendTo(b)
	return append(b, f.payload...)
}

func (i id) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, i.slot)
	return binary.LittleEndian.AppendUint32(b, i.generation)
}

// readFrame reads one frame, whose payload may have up to max bytes. It returns
// io.EOF only if the stream ends before the frame begins.
func readFrame(r io.Reader, max uint32) (frame, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return frame{}, err
	}
	le := binary.LittleEndian
	length := le.Uint32(header[0:])
	f := frame{
		kind:  header[4],
		flags: header[5],
		aux:   le.Uint16(header[6:]),
		id:    id{le.Uint32(header[8:]), le.Uint32(header[12:])},
	}
	if length > max {
		return frame{}, fmt.Errorf("a frame of kind %d has %d bytes, more than %d", f.kind, length, max)
	}
	f.payload = make([]byte, length)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, fmt.Errorf("a frame of kind %d is cut short: %w", f.kind, io.ErrUnexpectedEOF)
	}
	return f, nil
}

// hello is what a side says of itself.
type hello struct {
	version, oldest      uint16
	can                  uint32
	incarnation, ring    uint64
	maxRequest, maxValue uint32
}

func (h hello) frame() frame {
	le := binary.LittleEndian
	b := make([]byte, 0, helloBytes)
	b = le.AppendUint16(b, h.version)
	b = le.AppendUint16(b, h.oldest)
	b = le.AppendUint32(b, h.can)
	b = le.AppendUint64(b, h.incarnation)
	b = le.AppendUint64(b, h.ring)
	b = le.AppendUint32(b, h.maxRequest)
	b = le.AppendUint32(b, h.maxValue)
	return frame{kind: kindHello, payload: b}
}

func parseHello(f frame) (hello, error) {
	b, le := f.payload, binary.LittleEndian
	if f.kind != kindHello {
		return hello{}, fmt.Errorf("the first frame is of kind %d, and no HELLO", f.kind)
	}
	if len(b) < helloBytes {
		return hello{}, fmt.Errorf("a HELLO of %d bytes", len(b))
	}
	h := hello{
		version:     le.Uint16(b[0:]),
		oldest:      le.Uint16(b[2:]),
		can:         le.Uint32(b[4:]),
		incarnation: le.Uint64(b[8:]),
		ring:        le.Uint64(b[16:]),
		maxRequest:  le.Uint32(b[24:]),
		maxValue:    le.Uint32(b[28:]),
	}
	if h.version < version || h.oldest > version {
		return hello{}, fmt.Errorf("the peer speaks versions %d to %d", h.oldest, h.version)
	}
	if h.maxRequest < leastMaxRequest {
		return hello{}, fmt.Errorf("the peer takes requests of %d bytes only", h.maxRequest)
	}
	return h, nil
}

func getFrame(i id, millis uint32, group, key string) frame {
	b := binary.LittleEndian.AppendUint32(nil, millis)
	b = append(append(b, group...), key...)
	return frame{kind: kindGet, aux: uint16(len(group)), id: i, payload: b}
}

// getManyFrame asks for each key under the id at the same place.
func getManyFrame(ids []id, millis uint32, group string, keys []string) frame {
	b := binary.LittleEndian.AppendUint32(nil, millis)
	b = append(b, group...)
	for at, key := range keys {
		b = ids[at].appendTo(b)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
		b = append(b, key...)
	}
	return frame{kind: kindGetMany, aux: uint16(len(group)), payload: b}
}

// valueOf returns the value in a VALUE.
func valueOf(f frame) ([]byte, error) {
	if f.flags&essentialFlags&^(flagMinuteQPS|flagTimes) != 0 {
		return nil, fmt.Errorf("a value with the flags %#x is of a later version", f.flags)
	}
	before := 0
	if f.flags&flagMinuteQPS != 0 {
		before += minuteQPSBytes
	}
	if f.flags&flagTimes != 0 {
		before += timesBytes
	}
	if len(f.payload) < before {
		return nil, errors.New("a value is shorter than what stands before it")
	}
	return f.payload[before:], nil
}
