package backup

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cryptoserve/engine/lp"
	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
)

// Format is the version of the file that this program writes, and the only one it reads.
const Format = 1

const (
	magic         = "cryptoserve-backup/"
	maxManifest   = 64 << 10
	maxFirstLine  = len(magic) + 20
	checkBytes    = 8
	trailerBytes  = 8 + sha256.Size
	labelManifest = "cryptoserve/backup-manifest/1"
	labelBody     = "cryptoserve/backup/1"
	labelCheck    = "cryptoserve/backup-check/1"
)

var (
	// ErrDamaged is a file that is not as it was written: changed, cut, extended or put together from others.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrWrongKey is a backup that was made under another master key.
	ErrWrongKey = errors.New("the backup was made under another master key")
	// ErrNewer is a file in a format that a later program writes.
	ErrNewer = errors.New("the backup was made by a newer program")
	// ErrNotBackup is a file that does not begin as a backup.
	ErrNotBackup = errors.New("this is not a backup")
)

// Hex is bytes that are written as hexadecimal digits.
type Hex []byte

// MarshalText returns lower-case digits.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h Hex) String() string { return hex.EncodeToString(h) }

// Blob is a piece of data that must be readable without the backup's key, for example a master key wrapped for the custodians.
type Blob struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Manifest says what a backup holds. All but Bytes, SHA256 and Authentic stands in the file in clear.
type Manifest struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`         // NewID makes it
	Cluster   string    `json:"cluster_id"` // where it was made
	Node      string    `json:"node_id"`
	CreatedAt time.Time `json:"created_at"` // UTC, whole milliseconds
	// Index and Term are the place in the log of the newest entry that the state contains. They order backups of one cluster.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// StateDigest is the SHA-256 over the records, as two nodes compare it, and Records their number.
	StateDigest Hex    `json:"state_digest"`
	Records     uint64 `json:"records"`
	// MasterKCV is the check value of the master key, KeyCheck that of the backup's key; Write fills it in. 8 bytes each.
	MasterKCV Hex `json:"master_kcv"`
	KeyCheck  Hex `json:"key_check"`
	// Program is the version of the program that made it, Commands the highest version of commands that it knew.
	Program  string `json:"program_version"`
	Commands uint32 `json:"command_version"`
	Recovery []Blob `json:"recovery,omitempty"`

	// Bytes and SHA256 are of the whole file but its trailer, once it was written or read to its end.
	Bytes  int64 `json:"-"`
	SHA256 Hex   `json:"-"`
	// Authentic tells that the manifest was proved under the key. Without it everything above is a claim.
	Authentic bool `json:"-"`
}

var (
	idPattern      = regexp.MustCompile(`^backup_[0-9]{8}t[0-9]{6}z_[0-9a-f]{16}$`)
	wordPattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}$`)
	programPattern = regexp.MustCompile(`"program_version": "([A-Za-z0-9][A-Za-z0-9._:+-]{0,127})"`)
)

const idTime = "20060102t150405z"

// NewID returns the id of a backup, backup_<UTC>_<16 hex>: ids sort by time.
func NewID(now time.Time, random [8]byte) string {
	return "backup_" + now.UTC().Format(idTime) + "_" + hex.EncodeToString(random[:])
}

// ValidID reports whether a string has the form of an id of a backup.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Extension is how the names of backups end in a target.
const Extension = ".csbackup"

// FileName returns the name of a backup in a target.
func FileName(id string) string { return id + Extension }

// IDOf returns the id in a name that FileName made, empty for every other name.
func IDOf(name string) string {
	id, ok := strings.CutSuffix(name, Extension)
	if !ok || !ValidID(id) {
		return ""
	}
	return id
}

// validate refuses what no program writes.
func (m *Manifest) validate() error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("its format is %d, not %d", m.Format, Format)
	case !ValidID(m.ID):
		return errors.New("its id has not the form backup_<time>_<16 hex>")
	case !wordPattern.MatchString(m.Cluster) || !wordPattern.MatchString(m.Node) || !wordPattern.MatchString(m.Program):
		return errors.New("its cluster id, node id or program version is missing or has signs that none has")
	case m.CreatedAt.IsZero() || m.CreatedAt.Location() != time.UTC || !m.CreatedAt.Equal(m.CreatedAt.Truncate(time.Millisecond)):
		return errors.New("its time is missing, not in UTC or not in whole milliseconds")
	case m.Index == 0 || m.Term == 0 || m.Commands == 0:
		return errors.New("its index, term or version of commands is 0")
	case len(m.StateDigest) != sha256.Size || len(m.MasterKCV) != checkBytes || len(m.KeyCheck) != checkBytes:
		return errors.New("a digest or check value has not its length")
	}
	for _, b := range m.Recovery {
		if !wordPattern.MatchString(b.Name) || len(b.Data) == 0 {
			return errors.New("a recovery blob has no name or no data")
		}
	}
	return nil
}

// encode returns the head of a file. Equal manifests give equal bytes.
func (m *Manifest) encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	if len(text)+1 > maxManifest {
		return nil, fmt.Errorf("its manifest has %d bytes, more than %d", len(text)+1, maxManifest)
	}
	head := fmt.Appendf(nil, "%s%d %d\n", magic, Format, len(text)+1)
	return append(append(head, text...), '\n'), nil
}

// ReadManifest reads the manifest at the beginning of a file, and not much more. It needs no key, so it proves nothing:
// whoever could write the file could write any manifest. Errors: ErrNotBackup, ErrNewer, ErrDamaged, or one of r.
func ReadManifest(r io.Reader) (Manifest, error) {
	m, _, err := readHead(r)
	if err != nil {
		return Manifest{}, fmt.Errorf("backup: read manifest: %w", err)
	}
	return m, nil
}

func readHead(r io.Reader) (m Manifest, head []byte, err error) {
	format, length, line, err := readFirstLine(r)
	if err != nil {
		return m, nil, err
	}
	head = make([]byte, len(line)+length)
	copy(head, line)
	text := head[len(line):]
	n, err := io.ReadFull(r, text)
	if format != Format {
		return m, nil, newer(format, text[:n])
	}
	if err != nil {
		return m, nil, broken("its manifest", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, nil, damaged("its manifest cannot be read")
	}
	// One manifest has one encoding, so that whatever else it was decoded from has been changed.
	again, err := m.encode()
	if err != nil {
		return Manifest{}, nil, damaged("its manifest is impossible: " + err.Error())
	}
	if !bytes.Equal(again, head) {
		return Manifest{}, nil, damaged("its manifest is not as a program writes it")
	}
	return m, head, nil
}

// readFirstLine reads the line that every format begins with.
func readFirstLine(r io.Reader) (format, length int, line []byte, err error) {
	b := make([]byte, 1)
	for len(line) == 0 || line[len(line)-1] != '\n' {
		if _, err := io.ReadFull(r, b); err != nil {
			return 0, 0, nil, firstLineError(line, err)
		}
		line = append(line, b[0])
		if n := min(len(line), len(magic)); string(line[:n]) != magic[:n] || len(line) > maxFirstLine {
			return 0, 0, nil, ErrNotBackup
		}
	}
	first, rest, _ := strings.Cut(string(line[len(magic):len(line)-1]), " ")
	format, err = strconv.Atoi(first)
	if err != nil || format < 1 || strconv.Itoa(format) != first {
		return 0, 0, nil, damaged("the format in its first line is impossible")
	}
	length, err = strconv.Atoi(rest)
	switch {
	case format != Format: // what else stands in the line is for a later program to say
		return format, maxManifest, line, nil
	case err != nil || length < 1 || length > maxManifest || strconv.Itoa(length) != rest:
		return 0, 0, nil, damaged("the length in its first line is impossible")
	}
	return format, length, line, nil
}

// firstLineError tells an empty or foreign file from one that was cut and one that cannot be read.
func firstLineError(line []byte, err error) error {
	switch {
	case !isEnd(err):
		return err
	case len(line) == 0:
		return fmt.Errorf("%w: the file is empty", ErrNotBackup)
	}
	return broken("its first line", err)
}

func newer(format int, text []byte) error {
	program := "the program that made it"
	if found := programPattern.FindSubmatch(text); found != nil {
		program = "cryptoserved " + string(found[1])
	}
	return fmt.Errorf("%w: its format is %d and this program reads format %d; use %s or later", ErrNewer, format, Format, program)
}

// sealKey returns the key as package seal takes it, and its check value.
func sealKey(key secret.Bytes) (*seal.Key, Hex, error) {
	k, err := seal.New(key)
	if err != nil {
		return nil, nil, err
	}
	check, err := hkdf.Expand(sha256.New, key.Reveal(), string(lp.Append(nil, labelCheck)), checkBytes)
	return k, check, err
}

func manifestData(head []byte) []byte { return append(lp.Append(nil, labelManifest), head...) }

func bodyData(head, sealed []byte) []byte {
	h := sha256.New()
	h.Write(head)
	h.Write(sealed)
	return h.Sum(lp.Append(nil, labelBody))
}

func damaged(how string) error { return fmt.Errorf("%w: %s; use another copy of it", ErrDamaged, how) }

// broken is damaged where a read met the end, and the error itself where it failed.
func broken(what string, err error) error {
	if isEnd(err) {
		return damaged("it was cut: " + what + " is not whole")
	}
	return err
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
