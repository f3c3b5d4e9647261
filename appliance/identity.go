package appliance

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// identity says which node of which cluster a data directory belongs to. It names nobody and is not secret; it stays on
// its node whatever is restored there.
type identity struct {
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	CreatedAt string `json:"created_at"`
	// MasterKCV is the check value of the master key, in hex: the token must hold that key.
	MasterKCV string `json:"master_kcv"`
	// CACertificate is the certificate of the cluster CA, DER, and CAKey its key, wrapped by the token: with them a node can talk to
	// the others before it has the cluster's state.
	CACertificate []byte `json:"ca_certificate,omitempty"`
	CAKey         []byte `json:"ca_key,omitempty"`
	// TokenAdopted says that the token was there before the node: a first run that starts over leaves it alone.
	TokenAdopted bool `json:"token_adopted,omitempty"`
	// Joined says that the node joined a cluster: it never makes a Raft log of its own.
	Joined bool `json:"joined,omitempty"`
	// LogMade says that a node that joined has its Raft log: from then on a missing one is a loss.
	LogMade bool `json:"log_made,omitempty"`
}

const (
	identityFormat = 1
	identityFile   = "node.json"
	// unfinishedFile stands in for identityFile until a first run is complete.
	unfinishedFile = "node.json.unfinished"
)

func newIdentity() *identity {
	var id [16]byte
	rand.Read(id[:])
	return &identity{
		Format:    identityFormat,
		ClusterID: "cluster_" + hex.EncodeToString(id[:8]),
		NodeID:    "node_" + hex.EncodeToString(id[8:]),
		CreatedAt: time.Now().UTC().Format(time.RFC3339),
	}
}

var errUnprovisioned = errors.New("this data directory holds no node yet")

// readIdentity returns errUnprovisioned when there is none.
func readIdentity(dir, name string) (*identity, error) {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errUnprovisioned
	}
	if err != nil {
		return nil, err
	}
	var id identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; put it back from a backup of the data directory", filepath.Join(dir, name), err)
	}
	if id.Format != identityFormat || id.ClusterID == "" || id.NodeID == "" {
		return nil, fmt.Errorf("%s has format %d: a newer program wrote it, or it is damaged", filepath.Join(dir, name), id.Format)
	}
	return &id, nil
}

func (id *identity) write(dir, name string) error {
	raw, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, name), append(raw, '\n'))
}

// checkToken reports whether the token holds the master key that the directory was made with.
func (id *identity) checkToken(kcv []byte) error {
	if got := hex.EncodeToString(kcv); got != id.MasterKCV {
		return fmt.Errorf("the token holds another master key (check value %s, this node was made with %s): connect the right token", got, id.MasterKCV)
	}
	return nil
}
