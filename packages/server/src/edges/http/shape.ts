export * from '../json/shape.ts';
