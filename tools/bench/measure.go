package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// auditModes are the two ways in which the daemon is measured.
var auditModes = []string{"relaxed", "strict"}

// bench holds what one run of this program has started.
type bench struct {
	options
	dir      string
	progress io.Writer
	bare     *server
	daemons  map[string]*server // by audit mode
	fips     string             // the cryptographic module that the daemon was built with
}

// measure starts the servers, takes all slices and stops the servers.
func measure(ctx context.Context, o options, progress io.Writer) (result *report, err error) {
	dir, err := os.MkdirTemp(o.dir, "cryptoserve-bench-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil { // what runs in another folder must find it too
		return nil, err
	}
	b := &bench{options: o, dir: dir, progress: progress, daemons: map[string]*server{}}
	defer func() { err = errors.Join(err, b.close()) }()

	r := newReport(o)
	if !o.bareOnly {
		b.fips = moduleOf(o.daemon)
		r.fips = b.fips
	}
	if err := b.startServers(ctx, r); err != nil {
		return nil, err
	}
	for _, part := range parts {
		if !o.only[part] {
			continue
		}
		begin := time.Now()
		if err := b.measurePart(ctx, part, r); err != nil {
			return nil, err
		}
		b.say("%s took %v", part, time.Since(begin).Round(time.Second))
	}
	return r, nil
}

// startServers starts what the parts need.
func (b *bench) startServers(ctx context.Context, r *report) error {
	if b.only[partSingle] || b.only[partStream] {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		dir, err := b.folder("bare")
		if err != nil {
			return err
		}
		if b.bare, err = start(ctx, "bare server", dir, self, bareCommand, dir); err != nil {
			return err
		}
	}
	for _, mode := range b.modes() {
		if err := b.startDaemon(ctx, mode, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measurePart(ctx context.Context, part string, r *report) error {
	switch part {
	case partStream:
		return b.measureStream(ctx, r)
	case partBatch:
		return b.measureBatch(ctx, r)
	case partSign:
		return b.measureSign(ctx, r)
	case partFormat4:
		return b.measureFormat4(ctx, r)
	}
	for _, size := range b.sizes {
		if err := b.measureSize(ctx, size, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) close() error {
	var errs []error
	if b.bare != nil {
		errs = append(errs, b.bare.stop())
	}
	for _, s := range b.daemons {
		errs = append(errs, s.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

func (b *bench) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	return dir, os.Mkdir(dir, 0o700)
}

// startDaemon starts the daemon twice in one folder: the first start provisions it, the second is the usual one.
func (b *bench) startDaemon(ctx context.Context, mode string, r *report) error {
	dir, err := b.folder(mode)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	name := "daemon, audit " + mode
	args := []string{"dev", "--dir", dir, "--listen", address, "--audit", mode}
	b.say("%s: first start", name)
	first, err := start(ctx, name, dir, b.daemon, args...)
	if err != nil {
		return err
	}
	if err := first.stop(); err != nil {
		return err
	}
	b.say("%s: second start, then %v of rest", name, b.settle)
	second, err := start(ctx, name, dir, b.daemon, args...)
	if err != nil {
		return err
	}
	b.daemons[mode] = second
	if err := b.rest(ctx); err != nil {
		return err
	}
	rss, err := second.rss()
	if err != nil {
		return err
	}
	r.starts = append(r.starts, startup{mode: mode, first: first.started, second: second.started, idle: rss})
	return nil
}

// restart gives a daemon a new process that has served nothing yet.
func (b *bench) restart(ctx context.Context, mode string) error {
	old := b.daemons[mode]
	if err := old.stop(); err != nil {
		return err
	}
	s, err := start(ctx, old.name, filepath.Join(b.dir, mode), b.daemon, old.cmd.Args[1:]...)
	if err != nil {
		return err
	}
	b.daemons[mode] = s
	return b.rest(ctx)
}

// rest waits until a server that was just started is done with what it still had to do.
func (b *bench) rest(ctx context.Context) error {
	rest := time.NewTimer(b.settle)
	defer rest.Stop()
	select {
	case <-rest.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// freeAddress returns an address on which nothing listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// measureSize takes all slices of one plaintext size, round by round.
func (b *bench) measureSize(ctx context.Context, size int, r *report) error {
	rows, err := b.rows(ctx, size)
	if err != nil {
		return err
	}
	for round := range b.rounds + 1 { // round 0 warms the servers up and is not counted
		b.say("%d bytes: round %d of %d", size, round, b.rounds)
		for _, row := range rows {
			s, err := row.load.run(ctx, b.connections, b.slice)
			if err != nil {
				return err
			}
			if round > 0 {
				row.slices = append(row.slices, s)
			}
		}
	}
	r.sizes = append(r.sizes, sizeResult{size: size, rows: rows})
	return nil
}

func (b *bench) rows(ctx context.Context, size int) ([]*row, error) {
	bare, err := encryptLoad(b.bare, size)
	if err != nil {
		return nil, err
	}
	rows := []*row{{label: "a  bare server, encrypt", load: bare}}
	for i, mode := range auditModes {
		s := b.daemons[mode]
		if s == nil {
			continue
		}
		encrypt, err := encryptLoad(s, size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, &row{label: fmt.Sprintf("%c  audit %s, encrypt", 'b'+i, mode), goal: goals[mode], load: encrypt})
	}
	for i, mode := range auditModes {
		s := b.daemons[mode]
		if s == nil {
			continue
		}
		decrypt, err := decryptLoad(ctx, s, size)
		if err != nil {
			return nil, err
		}
		rows = append(rows, &row{label: fmt.Sprintf("%c  audit %s, decrypt", 'b'+i, mode), load: decrypt})
	}
	return rows, nil
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "bench: "+format+"\n", args...) // only to pass the time
}
