// Command clone-init is PID 1 of the initrd that Clone generates.
package main

import "clone/internal/guest/initd"

func main() { initd.Run() }
