package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An image keeps its stamp while another file takes its path, and every write changes it.
func TestStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	content := make([]byte, 8*SectorSize)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := OpenRaw(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	first, err := img.Stamp()
	if err != nil || first.SizeBytes != int64(len(content)) || first.ModTimeNS == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if now, err := StampOf(path); err != nil || now != first {
		t.Errorf("by its path: %+v, %v", now, err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if now, err := img.Stamp(); err != nil || now == first {
		t.Errorf("after a write: %+v, %v", now, err)
	}
	written, _ := img.Stamp()
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if now, err := img.Stamp(); err != nil || now != written {
		t.Errorf("the open one, after it was replaced: %+v, %v", now, err)
	}
	if now, err := StampOf(path); err != nil || now == written {
		t.Errorf("what replaced it: %+v, %v", now, err)
	}
	if _, err := StampOf(path + ".none"); err == nil {
		t.Error("an image that is not there has a stamp")
	}
}
