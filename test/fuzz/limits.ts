/** Makes the library believe in a machine of little memory; imported before it. */

const BYTES = 256 * 2 ** 20;
process.constrainedMemory = () => BYTES;
