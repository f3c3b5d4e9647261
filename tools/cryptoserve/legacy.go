package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"cryptoserve/api/client"
	"cryptoserve/api/wire"
)

const (
	// legacyRows and legacyBytes bound what is sent at once: the server takes 1,000 keys and pairs, and 1 MiB of JSON.
	legacyRows  = 1000
	legacyBytes = 768 << 10
	// masterBytes is the longest master or salt string.
	masterBytes = 64 << 10
	// legacyFileBytes bounds the file of keys.
	legacyFileBytes = 256 << 20
)

// legacyFile is the file of --keys.
type legacyFile struct {
	Keys       []wire.LegacyVersion `json:"keys"`
	HybridKeys []wire.LegacyPair    `json:"hybrid_keys"`
}

func (a *app) importLegacyCommand() *cobra.Command {
	var masterFile, saltFile, keysFile string
	var number uint32
	cmd := &cobra.Command{
		Use:   "import-legacy --keys FILE (--master-file FILE --salt-file FILE | --master-number N)",
		Short: "Make what a deployment of the public original encrypted readable here",
		Long: `Make what a deployment of the public original of CryptoServe encrypted readable here. Its
ciphertexts can then be decrypted and rewrapped; nothing new is encrypted under its keys.

--master-file holds the value of its environment variable CRYPTOSERVE_MASTER_KEY and
--salt-file that of CRYPTOSERVE_HKDF_SALT (where it was not set: cryptoserve-local-salt),
as text, hex digits as they stand. One line break at the end of each file is left out.
From the two HMAC-SHA256(salt, master) is computed on this machine, wrapped for the
token and imported into it as cs-legacy-N; the strings themselves are not sent. N is
shown: --master-number N adds keys to a master key that was imported before.

--keys is a JSON file with the rows of the original's database:

  {"keys":        [{"key_id":"key_user-pii_1a2b3c4d","context":"user-pii",
                    "tenant":"TENANT ID","version":1}],
   "hybrid_keys": [{"key_id":"32 hex digits","context":"archive",
                    "algorithm":"AES-256-GCM+ML-KEM-768","nonce":"BASE64",
                    "encrypted_private_key":"BASE64","wrap_info":"archive:v1:sz32"}]}

keys are the columns id, context, tenant_id and version of its table keys, of each
status. hybrid_keys are the rows of its table of post-quantum keys that have the type
pqc_kem: id, context, algorithm, nonce and the encrypted private key. wrap_info is what
the private keys were wrapped with and can be left out: it is then CONTEXT:v1:sz32.

Each context must exist here under the same name: see 'cryptoserve context create'. More
than 1000 rows are sent in parts; a part that fails can be sent again with
--master-number after what was reported as imported is taken out of the file.`,
		Example: `  cryptoserve import-legacy --master-file master.txt --salt-file salt.txt --keys keys.json
  cryptoserve import-legacy --master-number 1 --keys more.json`,
		Args: usageArgs(cobra.NoArgs),
	}
	flags := cmd.Flags()
	flags.StringVar(&masterFile, "master-file", "", "`file` with the master key string")
	flags.StringVar(&saltFile, "salt-file", "", "`file` with the salt string")
	flags.Uint32Var(&number, "master-number", 0, "`number` of a master key that was imported before")
	flags.StringVar(&keysFile, "keys", "", "JSON `file` with the rows of the keys (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := required(cmd, keysFile, "--keys FILE"); err != nil {
			return err
		}
		switch named := masterFile != "" || saltFile != ""; {
		case named && cmd.Flags().Changed("master-number"):
			return wrongUse(cmd, "--master-number cannot be used together with --master-file and --salt-file")
		case !named && number == 0:
			return wrongUse(cmd, "--master-file FILE and --salt-file FILE are needed, or --master-number N")
		case named && (masterFile == "" || saltFile == ""):
			return wrongUse(cmd, "--master-file and --salt-file are needed together")
		}
		list, err := readLegacyFile(keysFile)
		if err != nil {
			return err
		}
		var master *legacyMaster
		if number == 0 {
			if master, err = a.readLegacyMaster(cmd.Context(), masterFile, saltFile); err != nil {
				return err
			}
			defer clear(master[:])
		}
		return a.importLegacy(cmd.Context(), list, master, number)
	}
	return cmd
}

func readLegacyFile(name string) (legacyFile, error) {
	text, err := readFile(name, legacyFileBytes)
	if err != nil {
		return legacyFile{}, fmt.Errorf("read the keys from %s: %w", name, err)
	}
	var list legacyFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&list)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return legacyFile{}, &hintError{
			err:  fmt.Errorf("read the keys from %s: %w", name, err),
			hint: "see 'cryptoserve import-legacy --help' for the form of the file",
		}
	}
	if len(list.Keys)+len(list.HybridKeys) == 0 {
		return legacyFile{}, &hintError{
			err:  fmt.Errorf("read the keys from %s: there are none", name),
			hint: "see 'cryptoserve import-legacy --help' for the form of the file",
		}
	}
	return list, nil
}

// legacyMaster is what all keys of a deployment are derived from: HKDF-Extract (RFC 5869 section 2.2) of its two strings.
type legacyMaster [sha256.Size]byte

func (a *app) readLegacyMaster(ctx context.Context, masterFile, saltFile string) (*legacyMaster, error) {
	if masterFile == "-" && saltFile == "-" {
		return nil, usagef("standard input cannot be both: name a file for one of them")
	}
	master, err := a.secretFile(ctx, masterFile, masterBytes)
	if err != nil {
		return nil, fmt.Errorf("read the file of --master-file: %w", err)
	}
	defer clear(master)
	salt, err := a.secretFile(ctx, saltFile, masterBytes)
	if err != nil {
		return nil, fmt.Errorf("read the file of --salt-file: %w", err)
	}
	defer clear(salt)
	return extract(withoutLineBreak(master), withoutLineBreak(salt)), nil
}

func extract(master, salt []byte) *legacyMaster {
	mac := hmac.New(sha256.New, salt)
	mac.Write(master)
	var prk legacyMaster
	mac.Sum(prk[:0])
	return &prk
}

// importLegacy imports the master key with the first rows, and the others after it.
func (a *app) importLegacy(ctx context.Context, list legacyFile, master *legacyMaster, number uint32) error {
	c, err := a.client(true)
	if err != nil {
		return err
	}
	total := wire.LegacyImportResponse{Master: number}
	for part := range partsOf(list) {
		answer, err := a.importPart(ctx, c, wire.LegacyImportRequest{
			Master: total.Master, Keys: part.Keys, HybridKeys: part.HybridKeys,
		}, master)
		if err != nil {
			if total.Keys > 0 {
				a.note("the first %d keys were imported, under master number %d", total.Keys, total.Master)
			}
			return err
		}
		total.Master = answer.Master
		total.Keys += answer.Keys
	}
	return a.show(&streamSink{out: a.stdout}, total, func(w io.Writer) error {
		return rows(w, [2]string{"master number", strconv.FormatUint(uint64(total.Master), 10)}, [2]string{"keys", strconv.Itoa(total.Keys)})
	})
}

// importPart sends one request, which brings the master key along if it has no number yet.
func (a *app) importPart(
	ctx context.Context, c *client.Client, req wire.LegacyImportRequest, master *legacyMaster,
) (wire.LegacyImportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if req.Master == 0 {
		pair, err := c.CreateImport(ctx, wire.CreateImportRequest{Protection: protectionHSM})
		if err != nil {
			return wire.LegacyImportResponse{}, err
		}
		if req.WrappedMaster, err = wrapFor(pair, master[:]); err != nil {
			return wire.LegacyImportResponse{}, err
		}
		req.ImportID = pair.ImportID
	}
	return c.ImportLegacy(ctx, req)
}

// partsOf cuts a list into parts that the server takes at once.
func partsOf(list legacyFile) func(yield func(legacyFile) bool) {
	const around = 128 // of a row in JSON: the names of its fields
	return func(yield func(legacyFile) bool) {
		for len(list.Keys)+len(list.HybridKeys) > 0 {
			n, m, size := 0, 0, 0
			for n < min(len(list.Keys), legacyRows) && size < legacyBytes {
				k := &list.Keys[n]
				size += around + len(k.KeyID) + len(k.Context) + len(k.Tenant)
				n++
			}
			for n == len(list.Keys) && m < min(len(list.HybridKeys), legacyRows-n) && size < legacyBytes {
				p := &list.HybridKeys[m]
				size += around + len(p.KeyID) + len(p.Context) + len(p.Algorithm) + len(p.WrapInfo) + (len(p.Nonce)+len(p.EncryptedPrivateKey))/3*4
				m++
			}
			if !yield(legacyFile{list.Keys[:n], list.HybridKeys[:m]}) {
				return
			}
			list.Keys, list.HybridKeys = list.Keys[n:], list.HybridKeys[m:]
		}
	}
}
