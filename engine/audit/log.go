package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cryptoserve/engine/fault"
)

// Durability says what Append waits for.
type Durability uint8

// The durabilities. The zero value is Strict.
const (
	// Strict answers when the record is on the disk.
	Strict Durability = iota
	// Relaxed answers when the record is handed over. A power cut loses what was handed over in the 50 ms before it; a
	// killed process loses what it had not written yet: about 1 ms, and more while the disk is busy with a sync.
	Relaxed
)

const (
	defaultSegmentBytes = 64 << 20
	defaultReserveBytes = 1 << 20
	// minSegmentBytes leaves room for a header and any line beside the largest reserve, in whole 64 KiB: whatever does not
	// fit into a segment any more fits into the next.
	minSegmentBytes = int64(2*(maxHeader+maxLine)+64<<10-1) >> 16 << 16

	// maxQueued bounds the bytes that wait for the disk; Append blocks above it.
	maxQueued = 4 << 20
	// maxBody is how large a buffer for one record's body is kept for the next: enough for a batch of MaxItems without
	// much text.
	maxBody = 32 << 10
)

// Config says where a log is and how it is kept.
type Config struct {
	// Dir is the folder of the log. It is made, with mode 0700, if it does not exist. The caller makes sure that no other
	// process uses it.
	Dir string
	// Node is the name of this node: 1 to 64 letters, digits, '.', '_' and '-'. A folder holds one node's log.
	Node string
	// SegmentBytes is the size of a segment, at least 640 KiB. Zero means 64 MiB. Existing segments keep their size.
	SegmentBytes int64
	// ReserveBytes at the end of the last segment are kept for administrative records when no further segment can be
	// made. Zero means 1 MiB, or a quarter of a segment if that is less. At most half a segment.
	ReserveBytes int64
	Durability   Durability
	// Log gets what an operator should know. If nil, nothing is logged.
	Log *slog.Logger

	storage    storage       // nil means the disk
	retry      time.Duration // first wait before another try to make a spare; zero means 1 s
	minSegment int64         // zero means minSegmentBytes; for tests without long lines
}

// validate fills in what zero means.
func (c *Config) validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("no folder is given"))
	}
	if !validNode(c.Node) {
		errs = append(errs, fmt.Errorf("node name %q: 1 to %d letters, digits, '.', '_' and '-' are allowed", c.Node, maxNode))
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.minSegment == 0 {
		c.minSegment = minSegmentBytes
	}
	if c.SegmentBytes < c.minSegment {
		errs = append(errs, fmt.Errorf("segments of %d bytes: %d is the least", c.SegmentBytes, c.minSegment))
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = min(defaultReserveBytes, c.SegmentBytes/4)
	}
	if c.ReserveBytes < 0 || c.ReserveBytes > c.SegmentBytes/2 {
		errs = append(errs, fmt.Errorf("a reserve of %d bytes: at most half a segment of %d is allowed", c.ReserveBytes, c.SegmentBytes))
	}
	if c.Durability != Strict && c.Durability != Relaxed {
		errs = append(errs, fmt.Errorf("unknown durability %d", c.Durability))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.storage == nil {
		c.storage = &disk{}
	}
	if c.retry == 0 {
		c.retry = time.Second
	}
	return errors.Join(errs...)
}

func validNode(name string) bool {
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return false
		}
	}
	return name != "" && len(name) <= maxNode
}

// Log is one node's audit log, open for appending. Goroutines share it.
type Log struct {
	cfg Config

	mu      sync.Mutex
	changed sync.Cond // mu: space, queue or state may let a waiting Append go on

	seq  uint64        // last sequence number given out
	head [hashHex]byte // hash of the last line, in hex
	seg  *segment      // where the next line goes, at off
	off  int64

	spare        *segment
	spareMissing bool // the last try to make it failed
	spareReason  string

	queue   []*batch // what waits for the writer, in order
	free    [][]byte // buffers for batches
	queued  int      // bytes in queue and in the writer's hands
	durable uint64   // sequence number up to which all is on the disk

	failure error // why everything is refused until the log is opened again
	closing bool

	// want is the number of waiting records at which full is signalled; 0 when nobody waits for it.
	want uint64
	full chan struct{}

	wake      chan struct{} // the queue is no longer empty
	wantSpare chan struct{} // the name of the spare is free again
	stop      chan struct{} // closed by Close
	closeOnce sync.Once
	closeErr  error
	workers   sync.WaitGroup
	writing   *segment // the writer's own
}

// batch is what one write puts into one segment. Its appenders wait for done.
type batch struct {
	seg    *segment
	off    int64
	buf    []byte
	synced uint64 // claim of its lines: up to here all was durable before they were written
	last   uint64
	done   chan struct{} // nil when nobody waits
	err    error         // set before done is closed
}

// Open opens the log in cfg.Dir or begins one, and goes on with its chain. The end of a write that was cut off is set to
// zeros and logged. A log that is not what was written is a CorruptError: nothing is changed then. Every error has the
// kind fault.AuditUnavailable.
func Open(cfg Config) (*Log, error) {
	l, err := open(cfg)
	if err != nil {
		return nil, fault.Wrap(fault.AuditUnavailable, "audit.Open", "the audit log cannot be opened", err)
	}
	return l, nil
}

func open(cfg Config) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := makeDir(cfg.Dir); err != nil {
		return nil, err
	}
	l := &Log{
		cfg:       cfg,
		full:      make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
		wantSpare: make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	l.changed.L = &l.mu
	if err := l.resume(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.wantSpare <- struct{}{}
	l.workers.Go(func() { l.keepSpare(ctx) })
	l.workers.Go(func() {
		defer cancel()
		l.write()
	})
	return l, nil
}

// bodies holds buffers for the part of a line that is made outside the lock.
var bodies = sync.Pool{New: func() any { return new(make([]byte, 0, 1<<10)) }}

// Append gives the record its place in the chain and returns when it is as durable as the log's Durability says. The
// record is not kept. Errors: fault.AuditUnavailable when it cannot be written, fault.Internal for a record without a
// result, with more than MaxItems items or with a year that has no four digits. After an error of the disk the record may be on it all the same: it
// then says what was attempted.
func (l *Log) Append(r *Record) (Receipt, error) {
	if r.Result < Success || r.Result > Started {
		return Receipt{}, fault.New(fault.Internal, "audit.Append", "the record has no result")
	}
	if n := len(r.Items); n > MaxItems {
		return Receipt{}, fault.New(fault.Internal, "audit.Append", fmt.Sprintf("the record has %d items, %d are allowed", n, MaxItems))
	}
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	if y := at.UTC().Year(); y < 0 || y > 9999 {
		return Receipt{}, fault.New(fault.Internal, "audit.Append", "the record's year cannot be written")
	}
	pooled := bodies.Get().(*[]byte)
	body := appendBody((*pooled)[:0], l.cfg.Node, at, r)

	l.mu.Lock()
	if err := l.admit(len(body)+chainOverhead, r.Administrative); err != nil {
		l.mu.Unlock()
		recycle(pooled, body)
		return Receipt{}, err
	}
	idle := len(l.queue) == 0
	b := l.tail()
	from := len(b.buf)
	receipt := Receipt{Node: l.cfg.Node, Sequence: l.seq + 1}
	b.buf = appendRecordStart(b.buf, receipt.Sequence, b.synced, &l.head)
	b.buf = append(b.buf, body...)
	b.buf, receipt.Hash = appendHash(b.buf, from, &l.head)
	b.last = receipt.Sequence
	l.seq = receipt.Sequence
	l.advance(len(b.buf) - from)
	full := l.want > 0 && l.seq-l.durable >= l.want
	l.mu.Unlock()

	if full {
		signal(l.full)
	}
	recycle(pooled, body)
	if idle {
		signal(l.wake)
	}
	if b.done == nil {
		return receipt, nil
	}
	<-b.done
	if b.err != nil {
		return Receipt{}, b.err
	}
	return receipt, nil
}

func recycle(pooled *[]byte, body []byte) {
	if cap(body) <= maxBody {
		*pooled = body
		bodies.Put(pooled)
	}
}

// signal leaves a token in a channel of capacity 1, if it is empty.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// admit waits until a line of at most n bytes may be added, and moves to the next segment when it has to. The lock is
// held.
func (l *Log) admit(n int, administrative bool) error {
	for {
		switch {
		case l.failure != nil:
			return l.failure
		case l.closing:
			return fault.New(fault.AuditUnavailable, "audit.Append", "the node is shutting down")
		case l.queued < maxQueued:
			left := l.seg.size - l.off
			if l.spare == nil && !administrative {
				left -= l.cfg.ReserveBytes
			}
			if int64(n) <= left {
				return nil
			}
			if l.spare != nil {
				l.roll()
				return nil
			}
			if l.spareMissing {
				return fault.Wrap(fault.AuditUnavailable, "audit.Append", "the audit log has no space left",
					errors.New(l.spareReason))
			}
		}
		l.changed.Wait()
	}
}

// roll makes the spare the segment that is written to and puts its header into the chain. The lock is held.
func (l *Log) roll() {
	l.seg, l.spare, l.off = l.spare, nil, 0
	l.seg.first = l.seq + 1
	idle := len(l.queue) == 0
	b := l.tail()
	b.buf = appendHeaderStart(b.buf, l.cfg.Node, l.seg.first, &l.head)
	b.buf, _ = appendHash(b.buf, 0, &l.head)
	l.advance(len(b.buf))
	if idle {
		signal(l.wake)
	}
}

// tail returns the batch that the next line of the current segment joins. The lock is held.
func (l *Log) tail() *batch {
	if n := len(l.queue); n > 0 && l.queue[n-1].seg == l.seg {
		return l.queue[n-1]
	}
	b := &batch{seg: l.seg, off: l.off, synced: l.durable, last: l.seq}
	if l.cfg.Durability == Strict {
		// The writer syncs each batch before it writes the next.
		b.synced = l.seq
		b.done = make(chan struct{})
	}
	if n := len(l.free); n > 0 {
		b.buf, l.free = l.free[n-1], l.free[:n-1]
	}
	l.queue = append(l.queue, b)
	return b
}

// advance accounts for n bytes that were added to the last batch. The lock is held.
func (l *Log) advance(n int) {
	l.off += int64(n)
	l.queued += n
}

// Status is the state of a log at one moment.
type Status struct {
	// Latched says that a write or a sync failed and everything is refused until the node starts again; Reason says why.
	Latched bool
	// Reason is for the operator: why the log is latched, or why the spare is missing.
	Reason string
	// Sequence is the last one given out, Durable the last one known to be on the disk.
	Sequence, Durable uint64
	// SpareMissing says that the next segment cannot be made, as when the disk is full. It is tried again and again.
	SpareMissing bool
	// BytesLeft is the space that is prepared for ordinary records. Those that need more are refused while SpareMissing
	// holds; a record of a batch may need a lot more than others.
	BytesLeft int64
	// BytesQueued wait for the disk.
	BytesQueued int
}

// Status tells how the log is. It makes no call to the disk.
func (l *Log) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{
		Sequence: l.seq, Durable: l.durable, SpareMissing: l.spareMissing, Reason: l.spareReason, BytesQueued: l.queued,
		BytesLeft: l.seg.size - l.off,
	}
	if l.spare != nil {
		s.BytesLeft += l.spare.size
	} else {
		s.BytesLeft = max(0, s.BytesLeft-l.cfg.ReserveBytes)
	}
	if l.failure != nil {
		s.Latched, s.Reason = true, l.failure.Error()
	}
	return s
}

// Close refuses new records, waits until those in hand are on the disk, and closes the files. Later calls return what
// the first one did.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.mu.Lock()
		l.closing = true
		l.changed.Broadcast()
		l.mu.Unlock()
		close(l.stop)
		l.workers.Wait()
		l.closeErr = l.closeFiles()
	})
	return l.closeErr
}

// closeFiles runs when no worker does.
func (l *Log) closeFiles() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := []error{l.failure}
	files := []*segment{l.writing}
	if l.seg != l.writing {
		files = append(files, l.seg)
	}
	if l.spare != nil {
		files = append(files, l.spare)
	}
	for _, s := range files {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(append(errs, l.cfg.storage.close())...)
}
