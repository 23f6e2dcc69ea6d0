// The DSDT of a machine with two slots and a VM generation ID, as a person would write it. The test compares Build's bytes
// with dsdt.aml, which is this file compiled:  iasl -on -p dsdt dsdt.asl
DefinitionBlock ("", "DSDT", 2, "CLONE ", "CLONEVM ", 0x00000001)
{
    Name (\_S5, Package (4) { 5, 0, 0, 0 })
    Scope (\_SB)
    {
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x3F8, 0x3F8, 1, 8) IRQNoFlags () {4} })
        }
        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x70, 0x70, 1, 2) IRQNoFlags () {8} })
        }
        Device (PWRR)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x600, 0x600, 1, 12) Memory32Fixed (ReadWrite, 0xD0010000, 0x1000) })
        }
        Device (VR00)
        {
            Name (_HID, "LNRO0005")
            Name (_UID, 0)
            Name (_CCA, 1)
            Name (_CRS, ResourceTemplate () {
                Memory32Fixed (ReadWrite, 0xD0000000, 0x1000)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {5}
            })
        }
        Device (VR01)
        {
            Name (_HID, "LNRO0005")
            Name (_UID, 1)
            Name (_CCA, 1)
            Name (_CRS, ResourceTemplate () {
                Memory32Fixed (ReadWrite, 0xD0001000, 0x1000)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {23}
            })
        }
        Device (VGEN)
        {
            Name (_HID, "CLNE0001")
            Name (_CID, Package () { "VM_Gen_Counter", "VMGENCTR" })
            Name (_DDN, "VM_Gen_Counter")
            Name (ADDR, Package () { 0xFF000, 0 })
        }
        Device (GED)
        {
            Name (_HID, "ACPI0013")
            Name (_CRS, ResourceTemplate () { Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {13} })
            Method (_EVT, 1)
            {
                If (LEqual (Arg0, 13)) { Notify (\_SB.VGEN, 0x80) }
            }
        }
    }
}
