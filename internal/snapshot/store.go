package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"clone/internal/config"

	"golang.org/x/sys/unix"
)

// ErrNotFound is wrapped when a name is no template.
var ErrNotFound = errors.New("no such template")

// ErrExists is wrapped when a name is taken.
var ErrExists = errors.New("template exists")

// Store is a directory of templates.
type Store struct{ root string }

// OpenStore returns the store in home (CLONE_HOME), or in ~/.clone when home is empty. Nothing is created yet.
func OpenStore(home string) (*Store, error) {
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("%w: set CLONE_HOME to a directory for templates", err)
		}
		home = filepath.Join(user, ".clone")
	}
	root, err := filepath.Abs(filepath.Join(home, "templates"))
	return &Store{root: root}, err
}

// StoreAt returns the store whose templates are directly in root, an absolute path.
func StoreAt(root string) (*Store, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("%q is no absolute path of a template directory", root)
	}
	return &Store{root: filepath.Clean(root)}, nil
}

// Root is the directory that holds the templates.
func (s *Store) Root() string { return s.root }

// CheckName tells whether a template may be called so.
func CheckName(name string) error {
	if !config.ValidName(name) {
		return fmt.Errorf("%q is no template name: letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit", name)
	}
	return nil
}

// prefix of the directories that are being written or removed; no template name begins with a dot.
const asidePrefix = ".aside-"

// List returns every complete template, sorted by name; one that cannot be used is in the list with its Err.
func (s *Store) List() ([]Entry, error) {
	s.reap()
	list, err := s.entries()
	known := byName(list)
	for i, e := range list {
		if e.Err == nil {
			list[i].Err = checkChain(e.Manifest, known)
		}
	}
	return list, err
}

func (s *Store) entries() ([]Entry, error) {
	dirs, err := os.ReadDir(s.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []Entry
	for _, d := range dirs {
		if strings.HasPrefix(d.Name(), ".") {
			continue
		}
		m, err := readManifest(os.DirFS(filepath.Join(s.root, d.Name())))
		if err != nil {
			m = nil
		} else {
			m.Name = d.Name()
		}
		out = append(out, Entry{Name: d.Name(), Manifest: m, Err: err})
	}
	return out, nil
}

// Entry is one line of List. Manifest is nil when it cannot be read, and Err says why; Err may also say what else is wrong.
type Entry struct {
	Name     string
	Manifest *Manifest
	Err      error
}

// Exists tells whether the name is taken.
func (s *Store) Exists(name string) bool {
	_, err := os.Lstat(filepath.Join(s.root, name))
	return err == nil
}

// ErrHasChildren is wrapped when others build on a template.
var ErrHasChildren = errors.New("other templates build on it")

// Remove deletes templates. Forks that run keep the memory they mapped. One that others build on, which are not removed
// with it, is refused unless force says that these may become useless.
func (s *Store) Remove(names []string, force bool) error {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	s.reap()
	aside, lock, err := s.aside()
	if err != nil {
		return err
	}
	defer lock.Close()
	// Renamed first, so that the name never stands for half a template.
	return errors.Join(s.takeAway(names, force, aside), os.RemoveAll(aside))
}

func (s *Store) takeAway(names []string, force bool, aside string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	list, err := s.entries()
	if err != nil {
		return err
	}
	// All or none: what stays must not lack what it builds on because something else could not be removed.
	known := byName(list)
	var missing []string
	for _, name := range names {
		if _, ok := known[name]; !ok {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("%w: %s; `clone template list` shows what there is", ErrNotFound, strings.Join(missing, ", "))
	}
	if !force {
		if err := checkChildren(list, names); err != nil {
			return err
		}
	}
	for _, name := range childrenFirst(list, names) {
		if err := os.Rename(filepath.Join(s.root, name), filepath.Join(aside, name)); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(s.root, notesDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// lock keeps others from adding, exchanging and removing templates until unlock.
func (s *Store) lock() (unlock func(), err error) {
	f, err := os.Open(s.root)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", s.root, err)
	}
	return func() { f.Close() }, nil
}

// aside makes a locked directory for work in progress.
func (s *Store) aside() (dir string, lock *os.File, err error) {
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return "", nil, err
	}
	// Between the making and the lock somebody else's reap may take the directory for a dead one's. Then another is made.
	for range 100 {
		dir, err = os.MkdirTemp(s.root, asidePrefix)
		if err != nil {
			return "", nil, err
		}
		if lock, err = lockAside(dir); err == nil {
			return dir, lock, nil
		}
		os.RemoveAll(dir)
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
	}
	return "", nil, err
}

// lockAside locks a directory of work in progress that nobody has locked and that is still there.
func lockAside(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		_, err = os.Lstat(dir) // who had it locked may have removed it
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// allAside are the directories of work in progress, and of dead workers.
func (s *Store) allAside() (dirs []string) {
	entries, _ := os.ReadDir(s.root)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), asidePrefix) {
			dirs = append(dirs, filepath.Join(s.root, e.Name()))
		}
	}
	return dirs
}

// reap removes what a killed writer left: the kernel dropped its lock.
func (s *Store) reap() {
	for _, dir := range s.allAside() {
		if f, err := lockAside(dir); err == nil {
			os.RemoveAll(dir)
			f.Close()
		}
	}
}
