// Everything both ends of the wire speak of.
export * from './batch.ts';
export * from './delivery.ts';
export * from './duration.ts';
export * from './errors.ts';
export * from './frames.ts';
export * from './headers.ts';
export * from './lease.ts';
export * from './names.ts';
export * from './operation.ts';
export * from './preferences.ts';
export * from './route.ts';
export * from './routes.ts';
export type { Schema } from './schema.ts';
export * from './schemas.ts';
export * from './signature.ts';
