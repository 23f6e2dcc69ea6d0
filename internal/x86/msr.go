package x86

// MSR indexes (Intel SDM volume 4).
const (
	MSRMiscEnable  uint32 = 0x1a0
	MSRMTRRDefType uint32 = 0x2ff
)

const (
	miscEnableFastString = 1 << 0
	mtrrEnable           = 1 << 11
	mtrrWriteBack        = 6
)

// MSR is a model-specific register and a value.
type MSR struct {
	Index uint32
	Value uint64
}

// BootMSRs returns what firmware would have set on every vCPU. Every other MSR is right as KVM resets it.
func BootMSRs() []MSR {
	return []MSR{
		// Linux turns the fast string instructions off in CPUID where firmware did not turn this on.
		{MSRMiscEnable, miscEnableFastString},
		// All of memory is write-back. The default after reset, MTRRs off, means uncached.
		{MSRMTRRDefType, mtrrEnable | mtrrWriteBack},
	}
}
