/*
 * Rust's programs for Windows take their random numbers from this library, of which they use one function; Wine 8 does not
 * have it. Windows' headers are not at hand, so what they would say stands here.
 */
__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *bytes, unsigned long count);

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *bytes, unsigned long long count)
{
	return SystemFunction036(bytes, (unsigned long)count);
}
