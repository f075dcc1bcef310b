package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed assets/own assets/vendor
var assetFiles embed.FS

// asset is a file that pages load. Its name has a hash of what is in it, so that a
// browser never asks for it again.
type asset struct {
	name, kind  string
	raw, zipped []byte
}

// loaded are the assets by the name in their URL, and those names by the file's.
var loaded = sync.OnceValue(func() (all struct {
	byName map[string]*asset
	names  map[string]string
}) {
	all.byName, all.names = map[string]*asset{}, map[string]string{}
	_ = fs.WalkDir(assetFiles, "assets", func(file string, d fs.DirEntry, err error) error { // what is embedded can be read
		if err != nil || d.IsDir() || path.Ext(file) == ".txt" {
			return err
		}
		raw, err := assetFiles.ReadFile(file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		base, ext := path.Base(file), path.Ext(file)
		a := &asset{name: strings.TrimSuffix(base, ext) + "." + hex.EncodeToString(sum[:5]) + ext, kind: mime.TypeByExtension(ext), raw: raw, zipped: zipped(raw)}
		if ext == ".js" {
			a.kind = "text/javascript; charset=utf-8"
		}
		all.byName[a.name], all.names[base] = a, a.name
		return nil
	})
	return all
})

// assetName is the name of a file in URLs.
func assetName(file string) string { return loaded().names[file] }

func serveAsset(w http.ResponseWriter, r *http.Request) {
	a := loaded().byName[strings.TrimPrefix(r.URL.Path, "/assets/")]
	if a == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.raw
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && r.Header.Get("Range") == "" {
		h.Set("Content-Encoding", "gzip")
		body = a.zipped
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
