package main

import (
	"errors"
	"fmt"
	"io"
)

// refusal is the error of a get for which there is no value.
type refusal struct {
	reason uint16
	text   string
}

func (r refusal) Error() string { return fmt.Sprintf("refused for %d: %s", r.reason, r.text) }

// valueOrRefusal returns what an answer says.
func valueOrRefusal(f frame) ([]byte, error) {
	switch f.kind {
	case kindValue:
		return valueOf(f)
	case kindRefusal:
		return nil, refusal{f.aux, string(f.payload)}
	}
	return nil, fmt.Errorf("a frame of kind %d is no answer", f.kind)
}

// tour is one link on which everything is done once.
func tour(cfg config) error {
	if len(cfg.rows) < 5 {
		return errors.New("a tour takes five keys")
	}
	l, _, err := connect(cfg.addr, cfg.group, cfg.rows[0].key)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	t := &tourist{link: l, cfg: cfg, rows: cfg.rows}
	for _, step := range []func() error{
		t.hello, t.uncached, t.hitBehindLoad, t.absent, t.many, t.unknown, t.cancel,
		t.largest, t.tooLarge, t.invalid, t.goAway,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// tourist goes from step to step. No row is asked for before its step.
type tourist struct {
	*link
	cfg  config
	rows []row
}

// ask asks for a key, and returns what the answer says.
func (t *tourist) ask(group, key string) (id, []byte, error) {
	i, get := t.get(group, key)
	if err := t.send(get); err != nil {
		return i, nil, err
	}
	f, err := t.answer(i)
	if err != nil {
		return i, nil, err
	}
	value, err := valueOrRefusal(f)
	return i, value, err
}

func (t *tourist) hello() error {
	found("a node changes to frames and says HELLO", "version %d, requests up to %d and values up to %d bytes",
		t.owner.version, t.owner.maxRequest, t.owner.maxValue)
	return nil
}

// uncached reads the answer to the get that asked for the link, which is a load.
func (t *tourist) uncached() error {
	f, err := t.answer(first)
	if err != nil {
		return err
	}
	value, err := valueOrRefusal(f)
	if err := same(t.rows[0], value, err); err != nil {
		return err
	}
	if !t.loading[first] {
		return errors.New("the first key was loaded without a LOADING")
	}
	found("the get that asks for a link is answered over it", "LOADING, then the value of %q", t.rows[0].key)
	return nil
}

// hitBehindLoad asks for a key that is not cached and for one that is.
func (t *tourist) hitBehindLoad() error {
	slow, getSlow := t.get(t.cfg.group, t.rows[1].key)
	fast, getFast := t.get(t.cfg.group, t.rows[0].key)
	if err := t.send(getSlow, getFast); err != nil {
		return err
	}
	answers, err := t.answers(slow, fast)
	if err != nil {
		return err
	}
	if answers[0].id != fast || !t.loading[slow] || t.loading[fast] {
		return errors.New("the cached key waited for the one that was loaded")
	}
	for at, want := range []row{t.rows[0], t.rows[1]} {
		value, err := valueOrRefusal(answers[at])
		if err := same(want, value, err); err != nil {
			return err
		}
	}
	found("a cached key is answered before the load in front of it", "")
	return nil
}

func (t *tourist) absent() error {
	_, _, err := t.ask(t.cfg.group, t.cfg.absent)
	return t.refused("a key that is not there", notFound, err)
}

// many asks for three keys at once: cached, not cached, absent.
func (t *tourist) many() error {
	wants := []row{t.rows[1], t.rows[2]}
	ids := []id{t.newID(), t.newID(), t.newID()}
	keys := []string{wants[0].key, wants[1].key, t.cfg.absent}
	if err := t.send(getManyFrame(ids, 5_000, t.cfg.group, keys)); err != nil {
		return err
	}
	answers, err := t.answers(ids...)
	if err != nil {
		return err
	}
	for _, f := range answers {
		value, err := valueOrRefusal(f)
		if f.id == ids[2] {
			err = t.refused("the absent one of several keys", notFound, err)
		} else if f.id == ids[0] {
			err = same(wants[0], value, err)
		} else {
			err = same(wants[1], value, err)
		}
		if err != nil {
			return err
		}
	}
	found("several keys are asked for in one frame", "%d answers", len(answers))
	return nil
}

// unknown sends what no version knows, and looks whether anybody is there still.
func (t *tourist) unknown() error {
	ping := frame{kind: kindPing, id: id{7, 9}}
	unknown := frame{kind: 99, flags: 0xff, aux: 5, id: id{1, 2}, payload: make([]byte, 1000)}
	if err := t.send(unknown, frame{kind: kindValue, id: first}, ping); err != nil {
		return err
	}
	return t.pong(ping.id, "frames that make no sense to the owner are skipped")
}

func (t *tourist) pong(i id, what string) error {
	f, err := t.next()
	if err != nil {
		return err
	}
	if f.kind != kindPong || f.id != i {
		return fmt.Errorf("a frame of kind %d for %v, no PONG", f.kind, f.id)
	}
	found(what, "PONG")
	return nil
}

// cancel gives a get up, and gets the value all the same, from the load that went on.
func (t *tourist) cancel() error {
	want := t.rows[3]
	given, get := t.get(t.cfg.group, want.key)
	if err := t.send(get); err != nil {
		return err
	}
	if f, err := t.next(); err != nil || f.kind != kindLoading || f.id != given {
		return fmt.Errorf("a frame of kind %d, no LOADING: %v", f.kind, err)
	}
	// The second one is for a get that was over long ago.
	if err := t.send(t.link.cancel(given), frame{kind: kindCancel, id: first}); err != nil {
		return err
	}
	_, value, err := t.ask(t.cfg.group, want.key)
	if err := same(want, value, err); err != nil {
		return err
	}
	_, unanswered := t.wanted[given]
	found("a get is given up, and the next one has its load's value", "the first was answered: %t", !unanswered)
	return nil
}

func (t *tourist) largest() error {
	_, value, err := t.ask(t.cfg.group, t.cfg.largest.key)
	if err := sameAsFile(t.cfg.largest, value, err); err != nil {
		return err
	}
	found("the longest value goes over a link", "%d bytes", len(value))
	return nil
}

func (t *tourist) tooLarge() error {
	want := t.cfg.tooLarge
	_, _, err := t.ask(t.cfg.group, want.key)
	if err := t.refused("a longer value", tooLarge, err); err != nil {
		return err
	}
	value, err := overHTTP(t.cfg.addr, t.cfg.group, want.key)
	if err := sameAsFile(want, value, err); err != nil {
		return err
	}
	found("it is fetched over HTTP", "%d bytes", len(value))
	return nil
}

// invalid asks for a key that no node takes, which the link survives.
func (t *tourist) invalid() error {
	_, _, err := t.ask(t.cfg.group, "")
	return t.refused("an empty key", invalid, err)
}

// refused looks whether a get was refused for this reason.
func (t *tourist) refused(what string, reason uint16, err error) error {
	var r refusal
	if !errors.As(err, &r) || r.reason != reason {
		return fmt.Errorf("%s was not refused for %d: %v", what, reason, err)
	}
	found(what+" is refused", "%d: %s", r.reason, r.text)
	return nil
}

// goAway ends the link while a get is under way.
func (t *tourist) goAway() error {
	want := t.rows[4]
	i, get := t.get(t.cfg.group, want.key)
	if err := t.send(get, frame{kind: kindGoAway}); err != nil {
		return err
	}
	f, err := t.answer(i)
	if err != nil {
		return err
	}
	value, err := valueOrRefusal(f)
	if err := same(want, value, err); err != nil {
		return err
	}
	if f, err := t.next(); err != io.EOF {
		return fmt.Errorf("after the last answer came a frame of kind %d, not the end: %v", f.kind, err)
	}
	found("after GOAWAY the last answer comes, and then the end", "")
	return nil
}
