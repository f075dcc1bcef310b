package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// manifestFile stands in the folder of a backup that is whole: it is written last.
const manifestFile = "manifest.json"

// manifest is what a backup holds.
type manifest struct {
	Format  int       `json:"format"`
	Version string    `json:"version"` // of the mesh program
	NATS    string    `json:"nats"`    // version of the server
	Began   time.Time `json:"began_at"`
	Ended   time.Time `json:"ended_at"`
	OwnKey  bool      `json:"own_key"` // the key that seals secrets is in the backup, too
	Copies  []kept    `json:"streams"`
}

// kept is the copy of one stream.
type kept struct {
	store.Snapshot
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const manifestFormat = 1

func backupCommand() *cobra.Command {
	conn, logs := natsconn.Default(topology.BackupUser), defaultLog()
	var asJSON bool
	cmd := &cobra.Command{
		Use: "backup DIR", Short: "Copy a running mesh from NATS into a folder", Args: cli.One("folder"),
		Long: `Copy the streams, consumers and large values of a mesh in NATS into a new folder, while
the mesh runs. Every task that was accepted before the backup began is in it. Secrets
stay sealed: keep MESH_SECRET_KEY (or secret.key of mesh up) elsewhere, it is needed with
a restored mesh. The folder has all inputs and results: only its owner may read it.`,
		Example: "  mesh backup /var/backups/mesh-$(date +%F)",
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	set := config.Bind(cmd.Flags(), &conn, &logs).PassOver(everySetting()...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withNATS(cmd, set, &conn, &logs, func(ctx context.Context, nc *nats.Conn) error {
			m, err := backUp(ctx, nc, args[0])
			if err != nil {
				return err
			}
			if m.OwnKey {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning: this mesh has no secret key of its operator's, so the one that seals secrets is in the backup: keep it as you keep a password, and set MESH_SECRET_KEY on gateways and notifiers")
			}
			return m.show(cmd.OutOrStdout(), asJSON, "copied")
		})
	}
	return cmd
}

func restoreCommand() *cobra.Command {
	conn, logs := natsconn.Default(topology.AdminUser), defaultLog()
	var asJSON bool
	var into string
	limits := store.DefaultOptions(0)
	cmd := &cobra.Command{
		Use: "restore DIR", Short: "Put a backup into a NATS, or a data folder, that has no mesh yet", Args: cli.One("folder"),
		Long: `Put the copy that mesh backup has made into NATS servers that have no mesh yet, as a user
who may make streams. Stop the roles before, and start them after. It checks the sums of
all files first, refuses a mesh that holds anything, and leaves nothing behind when it
fails. What had finished by the backup does not run again; what was waiting or running
does; what came after the backup is not there.

For mesh up, whose NATS is its own, --into names a data folder: a new one, or an empty one.
Put its secret.key there before mesh up starts on it.`,
		Example: "  mesh restore /var/backups/mesh-2026-11-26\n  mesh restore /var/backups/mesh-2026-11-26 --into data",
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	cmd.Flags().StringVar(&into, "into", "", "data folder of a mesh up that does not run, in place of NATS servers; it is made when it is not there")
	set := config.Bind(cmd.Flags(), &conn, &limits, &logs).PassOver(everySetting()...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if into != "" {
			return restoreInto(cmd, set, &logs, &limits, into, args[0], asJSON)
		}
		return withNATS(cmd, set, &conn, &logs, func(ctx context.Context, nc *nats.Conn) error {
			if err := limits.Validate(); err != nil {
				return cli.Misuse(err)
			}
			m, err := putBack(ctx, nc, args[0], limits)
			if err != nil {
				return err
			}
			return m.show(cmd.OutOrStdout(), asJSON, "put back")
		})
	}
	return cmd
}

// withNATS runs a command of an operator on a connection.
func withNATS(cmd *cobra.Command, set *config.Set, conn *natsconn.Config, logs *logConfig, f func(context.Context, *nats.Conn) error) error {
	if err := set.Load(os.Getenv); err != nil {
		return cli.Misuse(err)
	}
	log, err := logs.logger()
	if err != nil {
		return err
	}
	nc, err := natsconn.Connect(cmd.Context(), *conn, "mesh-"+cmd.Name(), log)
	if err != nil {
		return err
	}
	defer nc.Close()
	return f(cmd.Context(), nc)
}

func (m manifest) show(out io.Writer, asJSON bool, done string) error {
	if asJSON {
		return cli.WriteJSON(out, m)
	}
	var messages uint64
	var bytes int64
	for _, k := range m.Copies {
		messages, bytes = messages+k.Messages(), bytes+k.Bytes
		fmt.Fprintf(out, "%-20s %9d messages %12d bytes\n", k.Stream, k.Messages(), k.Bytes)
	}
	_, err := fmt.Fprintf(out, "%s %d messages, %d bytes, as of %s\n", done, messages, bytes, m.Began.Format(time.RFC3339))
	return err
}

// backUp copies a mesh into a folder, which must be empty or not there.
func backUp(ctx context.Context, nc *nats.Conn, dir string) (m manifest, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, fmt.Errorf("make the folder of the backup: %w", err)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) > 0 {
		return m, cmpError(err, fmt.Errorf("%s is not empty: name a new folder for each backup", dir))
	}
	m = manifest{Format: manifestFormat, Version: version(), NATS: nc.ConnectedServerVersion(), Began: time.Now().UTC()}
	if m.OwnKey, err = store.HasOwnKey(ctx, nc); err != nil {
		return m, err
	}
	for _, stream := range topology.BackupOrder() {
		k, err := keep(ctx, nc, dir, stream)
		if err != nil {
			return m, err
		}
		m.Copies = append(m.Copies, k)
	}
	m.Ended = time.Now().UTC()
	return m, m.write(dir)
}

func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// keep copies one stream into a file, and its sum.
func keep(ctx context.Context, nc *nats.Conn, dir, stream string) (k kept, err error) {
	k.File = stream + ".snapshot"
	f, err := os.OpenFile(filepath.Join(dir, k.File), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return k, err
	}
	sum := sha256.New()
	if k.Snapshot, err = store.TakeSnapshot(ctx, nc, stream, io.MultiWriter(f, sum)); err == nil {
		err = f.Sync()
	}
	if info, failed := f.Stat(); failed == nil {
		k.Bytes = info.Size()
	}
	k.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return k, errors.Join(err, f.Close())
}

// write puts the manifest beside the copies, whole or not at all.
func (m manifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	part := filepath.Join(dir, manifestFile+".part")
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(dir, manifestFile))
}

// readManifest reads a backup's, and checks every file of it.
func readManifest(dir string) (m manifest, err error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%s has no %s: it is no backup, or one that did not end", dir, manifestFile)
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	if m.Format != manifestFormat {
		return m, fmt.Errorf("the backup has format %d, this version reads %d: restore it with mesh %s", m.Format, manifestFormat, m.Version)
	}
	for _, k := range m.Copies {
		if err := k.check(dir); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (k kept) check(dir string) error {
	if k.File != k.Stream+".snapshot" || !slices.Contains(topology.BackupOrder(), k.Stream) {
		return fmt.Errorf("%s names the file %q of the stream %q, which is none of this version's", manifestFile, k.File, k.Stream)
	}
	f, err := os.Open(filepath.Join(dir, k.File))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != k.SHA256 {
		return fmt.Errorf("%s is damaged: its SHA-256 is %s, not %s; take another backup", k.File, got, k.SHA256)
	}
	return nil
}

// putBack makes a mesh of a backup. What it has made it takes away again when it fails.
func putBack(ctx context.Context, nc *nats.Conn, dir string, o store.Options) (m manifest, err error) {
	if m, err = readManifest(dir); err != nil {
		return m, err
	}
	return m, m.putBack(ctx, nc, dir, o)
}

// putBack is the same of a backup whose files are checked.
func (m manifest) putBack(ctx context.Context, nc *nats.Conn, dir string, o store.Options) error {
	if err := emptied(ctx, nc); err != nil {
		return err
	}
	copies, err := store.Room(ctx, nc, o.Replicas)
	if err != nil {
		return err
	}
	made := []string{topology.BucketStream(topology.WorkersBucket)}
	for _, k := range m.Copies {
		made = append(made, k.Stream)
		if err = k.putBack(ctx, nc, dir, copies); err != nil {
			break
		}
	}
	if err == nil {
		err = store.ForgetProcesses(ctx, nc)
	}
	if err == nil {
		if _, err = store.Init(ctx, nc, o); errors.Is(err, topology.ErrLacking) && !errors.Is(err, topology.ErrMissing) {
			err = nil // of an earlier version: roles name mesh migrate
		}
	}
	if err != nil {
		return errors.Join(err, store.Discard(context.WithoutCancel(ctx), nc, made...))
	}
	return nil
}

func (k kept) putBack(ctx context.Context, nc *nats.Conn, dir string, replicas int) error {
	f, err := os.Open(filepath.Join(dir, k.File))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return store.PutBack(ctx, nc, k.Snapshot, replicas, f)
}

// emptied takes away the streams of a mesh that holds nothing. One that holds something
// is left as it is, and is an error.
func emptied(ctx context.Context, nc *nats.Conn) error {
	held, err := store.Holdings(ctx, nc)
	if err != nil {
		return err
	}
	var full []string
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if held[name] > 0 {
			full = append(full, fmt.Sprintf("%s (%d)", name, held[name]))
		}
	}
	if len(full) > 0 {
		return fmt.Errorf("there is a mesh already, with messages in %s: restore into an empty NATS account or store_dir, of mesh up into a new data folder (--into), before any role has started there", strings.Join(full, ", "))
	}
	return store.Discard(ctx, nc, slices.Sorted(maps.Keys(held))...)
}
