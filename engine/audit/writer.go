package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cryptoserve/engine/fault"
)

const (
	// gatherFor is how long a writer lets records come together before it writes them. A relaxed one always does: a write
	// each would cost more processor time than all the rest. A strict one does it when it has seen that many come.
	gatherFor = time.Millisecond
	// syncEvery is how long a relaxed writer lets written records wait for a sync. With the gathering before and the sync
	// itself after it they are on the disk within 50 ms, unless the disk takes longer for one sync.
	syncEvery = 25 * time.Millisecond
	// maxSpareBuffer is how large a batch's buffer is kept for the next one.
	maxSpareBuffer = 1 << 20
)

// write is the only goroutine that writes to segments.
func (l *Log) write() {
	var dirty time.Time // when the oldest record was written that is not synced; zero when there is none
	var last uint64
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, closing := l.take()
		switch {
		case b != nil && l.cfg.Durability == Strict:
			err := l.put(b)
			if err == nil {
				err = l.sync(b.last)
			}
			callers := l.callers(b)
			l.finish(b, err)
			l.await(callers, timer)
			continue
		case b != nil:
			var err error
			if b.seg != l.writing && !dirty.IsZero() {
				err, dirty = l.sync(last), time.Time{}
			}
			if err == nil {
				err = l.put(b)
			}
			last = b.last
			if dirty.IsZero() {
				dirty = time.Now()
			}
			l.finish(b, err)
			continue
		case !dirty.IsZero() && (closing || time.Since(dirty) >= syncEvery):
			dirty = time.Time{}
			if err := l.sync(last); err != nil {
				l.latch(err)
			}
			continue
		case closing:
			return
		}
		var due <-chan time.Time
		if !dirty.IsZero() {
			timer.Reset(syncEvery - time.Since(dirty))
			due = timer.C
		}
		select {
		case <-l.wake:
			if l.cfg.Durability == Relaxed {
				l.gather(timer)
			}
		case <-due:
		case <-l.stop:
		}
	}
}

// callers tells how many records were under way at once around a batch: those in it and those that came while it was
// written. It must be asked before the batch's callers are let go.
func (l *Log) callers(b *batch) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq - b.synced
}

// await lets the next group come together: as many records as there were callers, who are likely to come again soon. They
// then share one sync instead of two, which leaves the processor to them. A caller that is alone never waits.
func (l *Log) await(callers uint64, timer *time.Timer) {
	l.mu.Lock()
	waiting := l.seq - l.durable
	if callers < 2 || waiting >= callers || l.failure != nil {
		l.mu.Unlock()
		return
	}
	l.want = callers
	l.mu.Unlock()
	if waiting == 0 {
		select {
		case <-l.wake:
		case <-l.stop:
		}
	}
	timer.Reset(gatherFor)
	select {
	case <-l.full:
	case <-timer.C:
	case <-l.stop:
	}
	l.mu.Lock()
	l.want = 0
	l.mu.Unlock()
	select {
	case <-l.full: // it came too late
	default:
	}
}

func (l *Log) gather(timer *time.Timer) {
	timer.Reset(gatherFor)
	select {
	case <-timer.C:
	case <-l.stop:
	}
}

// take removes the first batch from the queue: from now on nobody adds to it.
func (l *Log) take() (b *batch, closing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil, l.closing
	}
	b = l.queue[0]
	n := copy(l.queue, l.queue[1:])
	l.queue[n] = nil
	l.queue = l.queue[:n]
	return b, l.closing
}

// put writes a batch. All batches before it are synced if it opens a new segment. After a failure nothing is written any
// more: a descriptor that failed once may tell anything the second time.
func (l *Log) put(b *batch) error {
	if err := l.failed(); err != nil {
		return err
	}
	if b.seg != l.writing {
		if err := l.begin(b.seg); err != nil {
			return err
		}
	}
	if _, err := b.seg.file.WriteAt(b.buf, b.off); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// begin gives the spare its name as the next segment.
func (l *Log) begin(seg *segment) error {
	path := filepath.Join(l.cfg.Dir, segmentName(seg.first))
	if err := l.cfg.storage.rename(filepath.Join(l.cfg.Dir, spareName), path); err != nil {
		return err
	}
	old := l.writing
	l.writing = seg
	signal(l.wantSpare)
	if err := old.file.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// sync makes durable all that was written, up to the sequence number last.
func (l *Log) sync(last uint64) error {
	if err := l.failed(); err != nil {
		return err
	}
	if err := l.writing.file.datasync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	l.mu.Lock()
	l.durable = last
	l.changed.Broadcast()
	l.mu.Unlock()
	return nil
}

// finish lets the batch's appenders go.
func (l *Log) finish(b *batch, err error) {
	if err != nil {
		l.latch(err)
	}
	l.mu.Lock()
	l.queued -= len(b.buf)
	if cap(b.buf) <= maxSpareBuffer && len(l.free) < 2 {
		l.free = append(l.free, b.buf[:0])
	}
	b.buf = nil
	b.err = l.failure
	l.changed.Broadcast()
	l.mu.Unlock()
	if b.done != nil {
		close(b.done)
	}
}

func (l *Log) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// latch refuses everything from now on.
func (l *Log) latch(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return
	}
	l.failure = fault.Wrap(fault.AuditUnavailable, "audit.Append", "the audit log could not be written",
		errors.Join(err, errors.New("repair or free the disk under "+l.cfg.Dir+", then start the node again")))
	l.changed.Broadcast()
	l.cfg.Log.Error("audit log failed: every operation is refused until the node starts again",
		"dir", l.cfg.Dir, "error", err)
}
