package cluster

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
)

// The records of a backup, which package backup seals, are a sequence of
//
//	uint32 big-endian length || [table number, record]
//
// with table number 0 for what is no record of the state: first a backupHeader, last a backupTrailer. They are in the order
// of a snapshot, so that the digest is that of the state. Unlike a snapshot they are not bound to a cluster.
const (
	backupFormat = 1
	// maxBackupRecord bounds what a reader takes into memory. No record comes near it.
	maxBackupRecord = 1 << 20
	tableNone       = 0
)

type backupHeader struct {
	Format  uint64 `cbor:"1,keyasint"`
	Cluster string `cbor:"2,keyasint"`
	Index   uint64 `cbor:"3,keyasint"`
	Term    uint64 `cbor:"4,keyasint"`
}

type backupTrailer struct {
	Count  uint64   `cbor:"1,keyasint"` // of records
	Digest [32]byte `cbor:"2,keyasint"` // of the state
}

// Backup is the state after one entry of the log, to be written. The node goes on meanwhile.
type Backup struct {
	Cluster string
	Index   uint64 // of the newest entry in the state
	Term    uint64 // of that entry
	Digest  [32]byte
	Records uint64

	view *View
}

// Backup returns the newest state of this node. It walks the state once for the digest; Write walks it again.
func (n *Node) Backup() (*Backup, error) {
	v := n.View()
	term, err := n.termOf(v.applied)
	if err != nil {
		return nil, fmt.Errorf("cluster: back up: %w", err)
	}
	b := &Backup{Cluster: n.cfg.ClusterID, Index: v.applied, Term: term, view: v}
	digest := sha256.New()
	err = encodeItems(v.txn, func(encoded []byte) error {
		b.Records++
		digest.Write(encoded)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: back up: %w", err)
	}
	b.Digest = [32]byte(digest.Sum(nil))
	return b, nil
}

// termOf returns the term of an entry that is in the state. When the log does not reach back to it, the newest snapshot
// says it: nothing lies between the two that changed the state.
func (n *Node) termOf(index uint64) (uint64, error) {
	var l raft.Log
	err := n.storage.logs.GetLog(index, &l)
	if err == nil {
		return l.Term, nil
	}
	if !errors.Is(err, raft.ErrLogNotFound) {
		return 0, err
	}
	metas, err := n.storage.snaps.List()
	if err != nil {
		return 0, err
	}
	if len(metas) == 0 || metas[0].Index < index {
		return 0, fmt.Errorf("neither the log nor a snapshot holds entry %d", index)
	}
	return metas[0].Term, nil
}

// WriteBackup writes the newest state of this node, as Backup and Write do.
func (n *Node) WriteBackup(w io.Writer) (index, term uint64, digest [32]byte, err error) {
	b, err := n.Backup()
	if err != nil {
		return 0, 0, digest, err
	}
	return b.Index, b.Term, b.Digest, b.Write(w)
}

// Write writes the records. It keeps one of them in memory.
func (b *Backup) Write(w io.Writer) error {
	if err := b.write(w); err != nil {
		return fmt.Errorf("cluster: write backup: %w", err)
	}
	return nil
}

func (b *Backup) write(w io.Writer) error {
	out := bufio.NewWriter(w)
	if err := writeExtra(out, backupHeader{Format: backupFormat, Cluster: b.Cluster, Index: b.Index, Term: b.Term}); err != nil {
		return err
	}
	if err := encodeItems(b.view.txn, func(encoded []byte) error { return writeSized(out, encoded) }); err != nil {
		return err
	}
	if err := writeExtra(out, backupTrailer{Count: b.Records, Digest: b.Digest}); err != nil {
		return err
	}
	return out.Flush()
}

func writeExtra(w io.Writer, v any) error {
	record, err := command.Marshal(v)
	if err != nil {
		return err
	}
	encoded, err := command.Marshal(item{Table: tableNone, Record: record})
	if err != nil {
		return err
	}
	return writeSized(w, encoded)
}

func writeSized(w io.Writer, encoded []byte) error {
	if len(encoded) > maxBackupRecord {
		return fmt.Errorf("a record of %d bytes is too long", len(encoded))
	}
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(encoded))) //nolint:gosec // at most maxBackupRecord
	if _, err := w.Write(length[:]); err != nil {
		return err
	}
	_, err := w.Write(encoded)
	return err
}

// BackupState is a state that was read from a backup.
type BackupState struct {
	Cluster string // where it was made
	Index   uint64
	Term    uint64
	Digest  [32]byte
	Records uint64

	view *View
}

// View returns the state. It belongs to no node.
func (s *BackupState) View() *View { return s.view }

// ReadBackup reads what Backup.Write wrote into a state of its own. It returns nothing of a backup that is not whole: the
// records must be as many as were written and have the digest that they had.
func ReadBackup(r io.Reader) (*BackupState, error) {
	s, err := readBackup(r)
	if err != nil {
		return nil, fmt.Errorf("cluster: read backup: %w", err)
	}
	return s, nil
}

func readBackup(r io.Reader) (*BackupState, error) {
	in := &backupReader{r: bufio.NewReader(r)}
	header, err := in.header()
	if err != nil {
		return nil, err
	}
	s := &BackupState{Cluster: header.Cluster, Index: header.Index, Term: header.Term}
	db := newState()
	txn := db.Txn(true)
	defer txn.Abort()
	digest := sha256.New()
	for {
		encoded, i, err := in.next()
		if err != nil {
			return nil, err
		}
		if i.Table == tableNone {
			var t backupTrailer
			if err := command.Unmarshal(i.Record, &t); err != nil {
				return nil, fmt.Errorf("its last record: %w", err)
			}
			if t.Count != s.Records || !bytes.Equal(t.Digest[:], digest.Sum(nil)) {
				return nil, fmt.Errorf("it holds %d records that are not the %d that were written", s.Records, t.Count)
			}
			s.Digest = t.Digest
			break
		}
		if err := putItem(txn, i); err != nil {
			return nil, fmt.Errorf("record %d: %w", s.Records, err)
		}
		digest.Write(encoded)
		s.Records++
	}
	if err := in.end(); err != nil {
		return nil, err
	}
	txn.Commit()
	s.view = newView(db, header.Index)
	// The digest over what was read proves the bytes; this one, that the tables hold it.
	if s.view.Digest() != s.Digest {
		return nil, errors.New("its records are not in order, or one stands in it twice")
	}
	return s, nil
}

// backupReader reads records.
type backupReader struct {
	r      *bufio.Reader
	number uint64
}

func (b *backupReader) header() (backupHeader, error) {
	var h backupHeader
	_, i, err := b.next()
	if err != nil {
		return h, err
	}
	if i.Table != tableNone {
		return h, errors.New("it does not begin with a header")
	}
	if err := command.Unmarshal(i.Record, &h); err != nil {
		return h, fmt.Errorf("its header: %w", err)
	}
	if h.Format != backupFormat {
		return h, fmt.Errorf("its records are in format %d, which this program does not know: use the program that made it, "+
			"or a later one", h.Format)
	}
	return h, nil
}

// next returns the next item and its encoding.
func (b *backupReader) next() ([]byte, item, error) {
	var i item
	var length [4]byte
	if _, err := io.ReadFull(b.r, length[:]); err != nil {
		return nil, i, b.cut(err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxBackupRecord {
		return nil, i, fmt.Errorf("item %d has the impossible length %d", b.number, n)
	}
	encoded := make([]byte, n)
	if _, err := io.ReadFull(b.r, encoded); err != nil {
		return nil, i, b.cut(err)
	}
	if err := command.Unmarshal(encoded, &i); err != nil {
		return nil, i, fmt.Errorf("item %d: %w", b.number, err)
	}
	b.number++
	return encoded, i, nil
}

func (b *backupReader) cut(err error) error {
	if isEOF(err) {
		return fmt.Errorf("it ends within item %d: %w", b.number, io.ErrUnexpectedEOF)
	}
	return err
}

// end reads to the end of the reader below, which may prove there that the backup is whole.
func (b *backupReader) end() error {
	switch _, err := b.r.ReadByte(); {
	case err == nil:
		return errors.New("something follows its last record")
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
