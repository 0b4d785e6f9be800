export * from '../json/scan.ts';
