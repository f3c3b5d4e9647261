package cluster

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/seal"
)

// A snapshot is a sealed stream: a frame with the header, frames with the records (see item) and a last frame with the
// trailer. Records are never split between frames.

// snapshotHeader is the first frame. It repeats what Raft's meta.json says in clear, which nothing else protects.
type snapshotHeader struct {
	Cluster            string   `cbor:"1,keyasint"`
	Applied            uint64   `cbor:"2,keyasint"` // index of the last entry in the state
	Index              uint64   `cbor:"3,keyasint"` // as meta.json, and so on
	Term               uint64   `cbor:"4,keyasint"`
	ConfigurationIndex uint64   `cbor:"5,keyasint"`
	Configuration      [32]byte `cbor:"6,keyasint"` // SHA-256 of the encoded configuration
}

// snapshotTrailer is the last frame.
type snapshotTrailer struct {
	Count  uint64   `cbor:"1,keyasint"` // of records
	Digest [32]byte `cbor:"2,keyasint"` // SHA-256 over the records: the digest of the state
}

func headerOf(cluster string, applied uint64, meta *raft.SnapshotMeta) snapshotHeader {
	return snapshotHeader{
		Cluster: cluster, Applied: applied, Index: meta.Index, Term: meta.Term, ConfigurationIndex: meta.ConfigurationIndex,
		Configuration: sha256.Sum256(raft.EncodeConfiguration(meta.Configuration)),
	}
}

// writeSnapshot writes the state of a view.
func writeSnapshot(w io.Writer, key frameKey, v *View, meta *raft.SnapshotMeta) error {
	f, err := newFrameWriter(w, key)
	if err != nil {
		return err
	}
	header, err := command.Marshal(headerOf(key.cluster, v.applied, meta))
	if err != nil {
		return err
	}
	if err := f.Write(header, false); err != nil {
		return err
	}
	var trailer snapshotTrailer
	digest := sha256.New()
	buffer := make([]byte, 0, frameBytes)
	err = encodeItems(v.txn, func(encoded []byte) error {
		trailer.Count++
		digest.Write(encoded)
		if len(buffer) > 0 && len(buffer)+len(encoded) > frameBytes {
			if err := f.Write(buffer, false); err != nil {
				return err
			}
			buffer = buffer[:0]
		}
		buffer = append(buffer, encoded...)
		return nil
	})
	if err != nil {
		return err
	}
	if len(buffer) > 0 {
		if err := f.Write(buffer, false); err != nil {
			return err
		}
	}
	trailer.Digest = [32]byte(digest.Sum(nil))
	last, err := command.Marshal(trailer)
	if err != nil {
		return err
	}
	return f.Write(last, true)
}

// readHeader reads the first frame.
func readHeader(f *seal.FrameReader) (snapshotHeader, error) {
	var h snapshotHeader
	b, last, err := f.Next()
	if err != nil {
		return h, err
	}
	if last {
		return h, errors.New("it ends after its header")
	}
	return h, command.Unmarshal(b, &h)
}

// readSnapshot returns the state in a snapshot and the index of the last entry in it. Nothing of a snapshot that is not
// whole is returned.
func readSnapshot(r io.Reader, key frameKey) (*memdb.MemDB, uint64, error) {
	f, err := newFrameReader(r, key)
	if err != nil {
		return nil, 0, err
	}
	header, err := readHeader(f)
	if err != nil {
		return nil, 0, err
	}
	if header.Cluster != key.cluster {
		return nil, 0, errors.New("it belongs to another cluster")
	}
	db := newState()
	txn := db.Txn(true)
	defer txn.Abort()
	digest := sha256.New()
	var count uint64
	for {
		b, last, err := f.Next()
		if err != nil {
			return nil, 0, err
		}
		if last {
			var t snapshotTrailer
			if err := command.Unmarshal(b, &t); err != nil {
				return nil, 0, fmt.Errorf("its last frame: %w", err)
			}
			if t.Count != count || !bytes.Equal(t.Digest[:], digest.Sum(nil)) {
				return nil, 0, fmt.Errorf("it holds %d records that are not the %d that were written", count, t.Count)
			}
			txn.Commit()
			return db, header.Applied, nil
		}
		n, err := readItems(txn, b, digest)
		if err != nil {
			return nil, 0, fmt.Errorf("frame %d: %w", f.Number()-1, err)
		}
		count += n
	}
}

func readItems(txn *memdb.Txn, b []byte, digest hash.Hash) (n uint64, err error) {
	digest.Write(b)
	for len(b) > 0 {
		var i item
		if b, err = command.First(b, &i); err != nil {
			return n, err
		}
		if err := putItem(txn, i); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
