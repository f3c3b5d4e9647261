package appliance

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"cryptoserve/api/join"
	"cryptoserve/cluster"
	"cryptoserve/cluster/command"
	"cryptoserve/cluster/transport"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/hsm"
)

const (
	// joinFile holds a join that is not finished, so that a restart goes on with it. It has the invitation's secret: it is
	// readable by the owner only, and removed at the end.
	joinFile = "join.json"
	// joinPoll is how often the joining node asks whether it was approved.
	joinPoll = time.Second
	// joinStep bounds each step but the wait for the operator: the token makes an RSA-4096 pair in one of them.
	joinStep = 2 * time.Minute
)

// joinProgress is what joinFile holds.
type joinProgress struct {
	Code    string `json:"code"`
	NodeID  string `json:"node_id"`
	Request string `json:"request,omitempty"` // id of the request, once it was accepted
	// Adopted says that this node made its own key beside keys that were there.
	Adopted bool `json:"adopted,omitempty"`
	// Complete says that the token has the keys: only the cluster must still be told.
	Complete bool `json:"complete,omitempty"`
}

// Join makes the node of an empty data directory a member of the cluster that an invitation code is of. It prints the
// fingerprint that an operator compares, waits for the approval, and returns when the node can be started. Cut off, it goes on
// when it is started again with the same code.
func Join(ctx context.Context, config Config, method, code string, out io.Writer, log *slog.Logger) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	n := &node{config: config, log: log}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.lock(); err != nil {
		return err
	}
	_, err = readIdentity(config.DataDir, identityFile)
	if err == nil {
		return fmt.Errorf("%s holds a node already: choose an empty data directory", config.DataDir)
	}
	if !errors.Is(err, errUnprovisioned) {
		return err
	}
	return n.join(ctx, directory.JoinMethod(method), code, out)
}

// joining is a join that goes on.
type joining struct {
	*node
	code     join.Code
	progress joinProgress
	method   directory.JoinMethod
	client   *join.Client
	out      io.Writer
}

func (n *node) join(ctx context.Context, method directory.JoinMethod, text string, out io.Writer) error {
	if n.config.Cluster.Listen == "" {
		return errors.New("cluster.listen is not set: the other nodes could not reach this one")
	}
	switch method {
	case directory.JoinWrap, directory.JoinShared, directory.JoinPreloaded:
	default:
		return fmt.Errorf("there is no method %q: choose wrap, shared or preloaded", method)
	}
	code, err := join.ParseCode(text)
	if err != nil {
		return fmt.Errorf("the invitation code: %w", err)
	}
	j := &joining{node: n, code: code, method: method, out: out}
	if err := j.begin(text); err != nil {
		return err
	}
	n.identity = &identity{
		Format: identityFormat, ClusterID: code.ClusterID, NodeID: j.progress.NodeID, Joined: true,
		CreatedAt: time.Now().UTC().Format(time.RFC3339),
	}
	if err := n.openTokenForJoin(ctx); err != nil {
		return err
	}
	j.client = &join.Client{HTTP: transport.JoinClient(code.Fingerprint, code.ClusterID), Addresses: code.Addresses}
	if j.progress.Request == "" {
		if err := j.request(ctx); err != nil {
			return err
		}
	}
	answer, err := j.approval(ctx)
	if err != nil {
		return err
	}
	if err := j.receive(ctx, answer); err != nil {
		return err
	}
	return j.finish(ctx, answer)
}

// begin reads the progress of an earlier try with the same code, or starts a new one.
func (j *joining) begin(text string) error {
	path := filepath.Join(j.config.DataDir, joinFile)
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := j.checkEmpty(); err != nil && j.config.HSM.SoftHSMDir != "" && j.freshDirectory() {
			return err
		}
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(raw, &j.progress); err != nil {
			return fmt.Errorf("%s is damaged: %w; remove it and begin again with a new code", path, err)
		}
		if j.progress.Code == text {
			_, _ = fmt.Fprintln(j.out, "going on with the join that was cut off")
			return nil
		}
		j.log.Warn("another invitation code was given, so the join that was cut off is given up")
	}
	var id [8]byte
	rand.Read(id[:])
	j.progress = joinProgress{Code: text, NodeID: "node_" + hex.EncodeToString(id[:])}
	return j.save()
}

// freshDirectory reports whether there is no Raft log yet.
func (j *joining) freshDirectory() bool {
	there, err := exists(j.raftDir())
	return err == nil && there
}

func (j *joining) save() error {
	raw, err := json.Marshal(j.progress)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(j.config.DataDir, joinFile), raw)
}

// openTokenForJoin opens the token, and makes one first where the config names a directory of SoftHSM2 tokens that does not exist.
func (n *node) openTokenForJoin(ctx context.Context) error {
	if dir := n.config.HSM.SoftHSMDir; dir != "" {
		there, err := exists(dir)
		if err != nil {
			return err
		}
		if !there {
			if err := n.makeToken(); err != nil {
				return fmt.Errorf("token: %w", err)
			}
		}
	}
	return n.openToken(ctx)
}

// request makes the node's keys and asks to join.
func (j *joining) request(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinStep)
	defer cancel()
	request := join.Request{
		Secret: j.code.Secret, Node: j.progress.NodeID, Name: j.nodeName(), API: j.config.Listen, Method: j.method,
		Address: j.config.Cluster.advertised(j.config.Cluster.Listen), CommandVersion: command.Newest(), Program: Version,
	}
	if err := j.ownKeys(ctx, &request); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := j.syncTokenFiles(); err != nil {
		return err
	}
	if err := request.Sign(asNode{ctx, j.token}); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	accepted, err := j.client.Request(ctx, request)
	if err != nil {
		return fmt.Errorf("ask to join: %w", err)
	}
	fingerprint := directory.JoinFingerprint(request.Node, request.NodeKey, request.JoinKey)
	_, err = fmt.Fprintf(j.out, "join %s\nfingerprint %s\nwaiting for an operator: cryptoserve cluster approve %s '%s'\n",
		accepted.ID, directory.FormatFingerprint(fingerprint), accepted.ID, directory.FormatFingerprint(fingerprint))
	if err != nil {
		return err
	}
	j.progress.Request = accepted.ID
	return j.save()
}

func (n *node) nodeName() string {
	if n.config.Cluster.Name != "" {
		return n.config.Cluster.Name
	}
	if host, err := os.Hostname(); err == nil && len(host) <= maxNodeName {
		return host
	}
	return n.identity.NodeID
}

// ownKeys makes the keys of this node's own in its token, and says which they are.
func (j *joining) ownKeys(ctx context.Context, in *join.Request) error {
	if j.method == directory.JoinWrap {
		keys, err := j.token.PrepareJoin(ctx)
		in.NodeKey, in.JoinKey, in.OAEP = keys.Node, keys.Join, string(keys.OAEPHash)
		return err
	}
	if j.progress.Adopted {
		if err := j.token.Load(ctx); err != nil {
			return err
		}
	} else if err := j.token.AdoptKeys(ctx, hsm.KCVs{}); err != nil {
		return err
	}
	j.progress.Adopted = true
	if err := j.save(); err != nil {
		return err
	}
	in.Check = checkValues(j.token.KeyCheckValues())
	public, err := x509.MarshalPKIXPublicKey(j.token.NodeSigner().Public())
	in.NodeKey = public
	return err
}

// syncTokenFiles makes a SoftHSM2 token durable.
func (n *node) syncTokenFiles() error {
	if n.config.HSM.SoftHSMDir == "" {
		return nil
	}
	return n.syncToken()
}

// approval waits until an operator has decided.
func (j *joining) approval(ctx context.Context) (*join.Approved, error) {
	tick := time.NewTicker(joinPoll)
	defer tick.Stop()
	for {
		status, err := j.client.Status(ctx, j.progress.Request, j.code.Secret)
		switch {
		case err != nil && ctx.Err() == nil && retryable(err):
			j.log.Warn("the cluster does not answer; it is asked again", "error", err)
		case err != nil:
			return nil, fmt.Errorf("ask whether the join was approved: %w", err)
		case status.State == directory.JoinDenied:
			return nil, errors.New("an operator denied the join: ask for a new invitation")
		case status.Approved != nil:
			return status.Approved, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func retryable(err error) bool {
	switch fault.Of(err) {
	case fault.Forbidden, fault.Unauthenticated, fault.NotFound, fault.Malformed, fault.Conflict:
		return false
	default:
		return true
	}
}

// receive brings the cluster's keys into this node's token and compares their check values with those of the cluster.
func (j *joining) receive(ctx context.Context, a *join.Approved) error {
	ctx, cancel := context.WithTimeout(ctx, joinStep)
	defer cancel()
	if got := sha256.Sum256(a.CACertificate); got != j.code.Fingerprint {
		return errors.New("the cluster answered with another CA than the one that the invitation names")
	}
	if j.method == directory.JoinWrap && !j.progress.Complete {
		if a.Transfer == nil {
			return errors.New("the approval has no keys in it: ask for a new invitation")
		}
		transfer := hsm.Transfer{
			OAEPHash: algs.Name(a.Transfer.OAEP), Master: a.Transfer.Master, WrapPrivate: a.Transfer.WrapPrivate, WrapSecret: a.Transfer.WrapSecret,
			KeyCheckValues: hsm.KCVs(a.Check),
		}
		if err := j.token.ReceiveKeys(ctx, transfer); err != nil {
			return fmt.Errorf("token: %w", err)
		}
		if err := j.syncTokenFiles(); err != nil {
			return err
		}
	} else if err := j.token.Load(ctx); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if got := checkValues(j.token.KeyCheckValues()); !got.Equal(&a.Check) {
		return errors.New("the token holds other keys than the cluster: their check values differ")
	}
	j.progress.Complete = true
	return j.save()
}

// finish tells the cluster, makes an empty Raft log, and writes what the node starts with. node.json comes last.
func (j *joining) finish(ctx context.Context, a *join.Approved) error {
	ctx, cancel := context.WithTimeout(ctx, joinStep)
	defer cancel()
	dir := j.config.DataDir
	j.identity.MasterKCV = hex.EncodeToString(j.token.MasterKCV())
	j.identity.CACertificate, j.identity.CAKey = a.CACertificate, a.CAKey
	members, err := openMemberList(dir, func() *cluster.View { return nil })
	if err != nil {
		return err
	}
	var known []memberEntry
	for _, m := range a.Members {
		known = append(known, memberEntry{ID: m.ID, Address: m.Address, Key: m.Key[:]})
	}
	members.learn(known)
	if err := members.save(); err != nil {
		return err
	}
	check := checkValues(j.token.KeyCheckValues())
	if err := j.client.Complete(ctx, j.progress.Request, j.code.Secret, check, asNode{ctx, j.token}); err != nil {
		return fmt.Errorf("tell the cluster that the keys are here: %w", err)
	}
	if err := j.config.write(filepath.Join(dir, configFile)); err != nil {
		return err
	}
	if err := j.identity.write(dir, identityFile); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, joinFile)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.out, "joined %s as %s\n", j.identity.ClusterID, j.identity.NodeID)
	return err
}

// asNode signs with the node key, which is there before the keys of the cluster are.
type asNode struct {
	ctx   context.Context //nolint:containedctx // a crypto.Signer takes none
	token *hsm.Token
}

// Public returns nil: nobody asks.
func (asNode) Public() crypto.PublicKey { return nil }

// Sign signs a SHA-256 digest.
func (s asNode) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	if len(digest) != sha256.Size {
		return nil, errors.New("the node key signs SHA-256 digests only")
	}
	return s.token.SignAsNode(s.ctx, [sha256.Size]byte(digest))
}

func checkValues(c hsm.KCVs) directory.KeyCheckValues { return directory.KeyCheckValues(c) }
