/** Public API of Filigree. */
export * from './errors.ts';
